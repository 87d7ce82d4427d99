"""The contracts as code, for the author of a task, a policy or a perturbation.

Each function returns None and raises ContractError for the first fault; the message
states what was expected and what came.
"""

from altbench.checks.env import check_env
from altbench.checks.perturbation import check_perturbation
from altbench.checks.policy import check_policy

__all__ = ["check_env", "check_perturbation", "check_policy"]
