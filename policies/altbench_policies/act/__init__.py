"""Action Chunking with Transformers."""

from altbench_policies.act.config import ActSpec
from altbench_policies.act.policy import Act

__all__ = ["Act", "ActSpec"]
