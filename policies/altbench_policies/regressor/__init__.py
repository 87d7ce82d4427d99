"""ALT+'s network alone."""

from altbench_policies.regressor.policy import Regressor, RegressorSpec

__all__ = ["Regressor", "RegressorSpec"]
