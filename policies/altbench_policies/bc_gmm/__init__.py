"""Behaviour cloning with a mixture of Gaussians."""

from altbench_policies.bc_gmm.config import MixtureCloningSpec
from altbench_policies.bc_gmm.policy import MixtureCloning

__all__ = ["MixtureCloning", "MixtureCloningSpec"]
