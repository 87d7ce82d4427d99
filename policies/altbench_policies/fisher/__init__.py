"""Which demonstration by Fisher's criterion, which frame by the nearest pose."""

from altbench_policies.fisher.config import FisherSpec
from altbench_policies.fisher.policy import Fisher

__all__ = ["Fisher", "FisherSpec"]
