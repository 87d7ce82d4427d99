"""Behaviour cloning."""

from altbench_policies.bc.policy import BehaviourCloning
from altbench_policies.bc.settings import BehaviourCloningSpec

__all__ = ["BehaviourCloning", "BehaviourCloningSpec"]
