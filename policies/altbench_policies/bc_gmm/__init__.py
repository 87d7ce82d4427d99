"""Behaviour cloning with a mixture of Gaussians."""

from altbench_policies.bc_gmm.policy import MixtureCloning
from altbench_policies.bc_gmm.settings import MixtureCloningSpec

__all__ = ["MixtureCloning", "MixtureCloningSpec"]
