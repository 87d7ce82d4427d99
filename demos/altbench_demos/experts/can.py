"""The scripted expert for Can: grasp the can, carry it over the walls, drop it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from altbench.api import Float64, TaskEnv
from altbench_demos.experts.pick_and_place import PickAndPlace, Plan
from altbench_demos.experts.waypoints import QUARTER_TURN

RELEASE = np.array([-0.045, -0.065, 0.06])
"""m from the compartment's middle to where the can is let go, within reach."""
AIM = 0.02
"""m: how near to that point the can is let go."""
WALL_NEAR = 0.165
"""m from the bin's middle line (y): further off, fingers along y meet the wall."""
BIN_Y = -0.25
"""m, world: the bin's middle line."""


class CanExpert(PickAndPlace):
    """The `altbench.api.Expert` for Can. Its style includes the yaw of the grasp."""

    floor = 0.82
    carry_height = (0.05, 0.08)

    def __init__(self) -> None:
        super().__init__()
        self._yaw = 0.0

    def reset(self, env: TaskEnv, seed: int) -> None:
        """Begin an episode in a style drawn from `seed`."""
        super().reset(env, seed)
        self._yaw = np.random.default_rng([seed, 1]).uniform(-0.35, 0.35)  # rad

    def plan(self, poses: Mapping[str, Float64]) -> Plan:
        """Plan from the positions of the can and of its compartment."""
        can, goal = poses["can_position"], poses["goal_position"] + RELEASE
        off = can - goal
        near_wall = abs(can[1] - BIN_Y) > WALL_NEAR
        return Plan(
            grasp=can,
            grasp_yaw=self._yaw - (np.copysign(QUARTER_TURN, self._yaw) if near_wall else 0.0),
            held=can,
            goal=goal,
            arrived=bool(np.linalg.norm(off[:2]) < AIM and off[2] < AIM),
        )
