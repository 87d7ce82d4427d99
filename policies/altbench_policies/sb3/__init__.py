"""Checkpoints of Stable-Baselines3."""

from altbench_policies.sb3.policy import StableBaselines
from altbench_policies.sb3.settings import StableBaselinesSpec

__all__ = ["StableBaselines", "StableBaselinesSpec"]
