"""Random poses: the floor that every other policy must rise above."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from altbench.api import POSE_ACTION_DIM, Decision, Footprint, Observation, Policy, Requirements, Spec, TaskInfo
from altbench_policies import input_checks

Point = tuple[float, float, float]


class RandomSpec(Spec):
    """Config of random: the box that positions are drawn from.

    `low` to `high` (m, world), by default above robosuite's table. `action_horizon`: Ta,
    the steps for which a drawn action is held.
    """

    action_horizon: int = Field(default=8, ge=1)
    low: Point = (-0.2, -0.2, 0.82)
    high: Point = (0.2, 0.2, 1.1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if any(a > b for a, b in zip(self.low, self.high, strict=True)):
            raise ValueError(f"low {self.low} must nowhere exceed high {self.high}")
        return self


class Random(Policy[RandomSpec]):
    """A random position and gripper command at each decision, for each arm.

    The position is uniform in the box, the gripper open or closed; both are held for
    the chunk. The orientation stays as it is, which two zero columns mean in `ee_pose`.
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
        """Draw one action per slot, repeated for Ta steps: (B, Ta, Da)."""
        del observation
        input_checks.check_begun(slots, self._rngs)
        actions = [np.concatenate([self._draw(self._rngs[slot]) for _ in range(self.task.arms)]) for slot in slots]
        chunk = np.repeat(np.array(actions, np.float32)[:, None], self.config.action_horizon, axis=1)
        return Decision(chunk)

    def footprint(self) -> Footprint:
        """Return zeros: it holds nothing."""
        return Footprint()

    def _draw(self, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        action = np.zeros(POSE_ACTION_DIM)
        action[:3] = rng.uniform(self.config.low, self.config.high)
        action[-1] = rng.choice([-1.0, 1.0])
        return action
