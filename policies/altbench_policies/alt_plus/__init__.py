"""ALT+: a lookup table whose chunks are corrected for where the object is now."""

from altbench_policies.alt_plus.config import AltPlusSpec
from altbench_policies.alt_plus.policy import AltPlus

__all__ = ["AltPlus", "AltPlusSpec"]
