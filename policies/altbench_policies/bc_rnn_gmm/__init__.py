"""Recurrent behaviour cloning with a mixture of Gaussians."""

from altbench_policies.bc_rnn_gmm.policy import RecurrentCloning
from altbench_policies.bc_rnn_gmm.settings import RecurrentCloningSpec

__all__ = ["RecurrentCloning", "RecurrentCloningSpec"]
