"""The contracts as code: what the author of a task, a policy or a perturbation runs on it.

Each function returns nothing and raises ContractError for the first fault, with what was expected and what came.
"""

from altbench.checks.env import check_env
from altbench.checks.perturbation import check_perturbation
from altbench.checks.policy import check_policy

__all__ = ["check_env", "check_perturbation", "check_policy"]
