"""Recurrent behaviour cloning with a mixture of Gaussians."""

from altbench_policies.bc_rnn_gmm.config import RecurrentCloningSpec
from altbench_policies.bc_rnn_gmm.policy import RecurrentCloning

__all__ = ["RecurrentCloning", "RecurrentCloningSpec"]
