"""ALT+: a lookup table whose chunks are carried to where the object is now."""

from altbench_policies.alt_plus.policy import AltPlus
from altbench_policies.alt_plus.settings import AltPlusSpec

__all__ = ["AltPlus", "AltPlusSpec"]
