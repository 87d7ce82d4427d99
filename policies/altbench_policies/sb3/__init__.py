"""Checkpoints of Stable-Baselines3."""

from altbench_policies.sb3.config import StableBaselinesSpec
from altbench_policies.sb3.policy import StableBaselines

__all__ = ["StableBaselines", "StableBaselinesSpec"]
