"""The action lookup table."""

from altbench_policies.alt.config import AltSpec
from altbench_policies.alt.policy import Alt

__all__ = ["Alt", "AltSpec"]
