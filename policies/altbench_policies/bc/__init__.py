"""Behaviour cloning."""

from altbench_policies.bc.policy import BehaviourCloning, BehaviourCloningSpec

__all__ = ["BehaviourCloning", "BehaviourCloningSpec"]
