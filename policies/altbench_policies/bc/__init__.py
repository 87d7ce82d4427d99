"""Behaviour cloning."""

from altbench_policies.bc.config import BehaviourCloningSpec
from altbench_policies.bc.policy import BehaviourCloning

__all__ = ["BehaviourCloning", "BehaviourCloningSpec"]
