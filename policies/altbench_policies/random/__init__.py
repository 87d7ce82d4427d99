"""Uniformly random poses."""

from altbench_policies.random.policy import Random, RandomSpec

__all__ = ["Random", "RandomSpec"]
