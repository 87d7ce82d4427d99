"""The action lookup table."""

from altbench_policies.alt.policy import Alt
from altbench_policies.alt.settings import AltSpec

__all__ = ["Alt", "AltSpec"]
