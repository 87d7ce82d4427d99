"""The scripted expert for Can: grasp the can where the walls leave room, carry it over them, drop it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from altbench.api import Float64, TaskEnv
from altbench_demos.experts.pick_and_place import PickAndPlace, Plan
from altbench_demos.experts.waypoints import QUARTER_TURN

RELEASE = np.array([-0.045, -0.065, 0.06])  # m from the can's place to where it is let go: the corner within reach
AIM = 0.02  # m: near enough to there
WALL_NEAR = 0.165  # m from the bin's middle line (y), beyond which fingers closing along y would meet the wall
BIN_Y = -0.25  # m, world


class CanExpert(PickAndPlace):
    """`altbench.api.Expert` for Can; the style includes the side that a round can is grasped from."""

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
        """From the can's position and its compartment's."""
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
