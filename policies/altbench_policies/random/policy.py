"""Random poses: the floor that every other policy must rise above."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from altbench.api import POSE_ACTION_DIM, ContractError, Decision, Observation, Policy, Requirements, Spec, TaskInfo

Point = tuple[float, float, float]


class RandomSpec(Spec):
    """Settings: the box `low` to `high` (m, world) that positions are drawn from, by default above robosuite's table."""

    action_horizon: int = Field(default=8, ge=1)
    low: Point = (-0.2, -0.2, 0.82)
    high: Point = (0.2, 0.2, 1.1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if any(a > b for a, b in zip(self.low, self.high, strict=True)):
            raise ValueError(f"low {self.low} must nowhere exceed high {self.high}")
        return self


class Random(Policy[RandomSpec]):
    """At each decision and for each arm a position, uniform in the box, and an open or closed gripper, held for the chunk.

    The orientation stays as it is, which two zero columns mean in `ee_pose`.
    """

    name: ClassVar[str] = "random"
    version: ClassVar[int] = 1

    def __init__(self, task: TaskInfo, config: RandomSpec) -> None:
        super().__init__(task, config)
        self._rngs: dict[int, np.random.Generator] = {}

    @property
    def requirements(self) -> Requirements:
        """No images."""
        horizon = self.config.action_horizon
        return Requirements((), 1, horizon, horizon)

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Seed each slot's draws."""
        for slot, seed in zip(slots, seeds, strict=True):
            self._rngs[slot] = np.random.default_rng(seed)

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        """One drawn action per slot, for Ta steps: (B, Ta, Da)."""
        del observation
        missing = [slot for slot in slots if slot not in self._rngs]
        if missing:
            raise ContractError(f"slot {missing[0]} has not begun an episode: call reset(slots, seeds) before act")
        actions = [np.concatenate([self._draw(self._rngs[slot]) for _ in range(self.task.arms)]) for slot in slots]
        chunk = np.repeat(np.array(actions, np.float32)[:, None], self.config.action_horizon, axis=1)
        return Decision(chunk)

    def _draw(self, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        action = np.zeros(POSE_ACTION_DIM)
        action[:3] = rng.uniform(self.config.low, self.config.high)
        action[-1] = rng.choice([-1.0, 1.0])
        return action
