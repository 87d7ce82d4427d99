"""Action Chunking with Transformers."""

from altbench_policies.act.policy import Act
from altbench_policies.act.settings import ActSpec

__all__ = ["Act", "ActSpec"]
