"""Visual imitation through nearest neighbours."""

from altbench_policies.vinn.policy import Vinn, VinnSpec

__all__ = ["Vinn", "VinnSpec"]
