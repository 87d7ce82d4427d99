"""The scripted expert for Lift: move above the cube, descend, close, lift."""

from __future__ import annotations

from typing import Literal

import numpy as np

from altbench.api import Float32, Float64, TaskEnv
from altbench_demos.experts.waypoints import (
    CLOSE_STEPS,
    CLOSE_TOLERANCE,
    CLOSED,
    LOST,
    OPEN,
    UP,
    Style,
    action,
    nearest_quarter,
    pointing_down,
    turned,
    yaw_of,
)

TABLE = 0.8
"""m, world: the table's height. No target lies lower."""
GRASP_BELOW_CENTRE = 0.005
"""m: how far below the cube's centre the grip site closes."""

Phase = Literal["approach", "close", "lift"]


class LiftExpert:
    """The `altbench.api.Expert` for Lift.

    The seed draws its style: speed, approach height, steepness of the descent.
    """

    def __init__(self) -> None:
        self._phase: Phase = "approach"
        self._closing = 0
        self._style = Style(0.0, 0.0, 0.0)

    def reset(self, env: TaskEnv, seed: int) -> None:
        """Begin an episode in a style drawn from `seed`."""
        del env  # every episode of Lift begins alike
        self._phase, self._closing = "approach", 0
        self._style = Style.draw(np.random.default_rng(seed))

    def act(self, env: TaskEnv) -> Float32:
        """Return the next `ee_pose` action, float32 (10,)."""
        poses = env.privileged()
        position, cube = poses["gripper_position"], poses["cube_position"]
        grasp = cube - np.array([0.0, 0.0, GRASP_BELOW_CENTRE])
        self._next_phase(position, cube, grasp)
        if self._phase == "approach":
            target, gripper = self._style.funnel(position, grasp), OPEN
        else:
            target, gripper = grasp if self._phase == "close" else position + UP, CLOSED
        goal = pointing_down(nearest_quarter(yaw_of(poses["cube_quaternion"])))
        return action(self._style.ahead(position, target, TABLE), turned(poses["gripper_quaternion"], goal), gripper)

    def _next_phase(self, position: Float64, cube: Float64, grasp: Float64) -> None:
        if self._phase == "approach" and np.linalg.norm(position - grasp) < CLOSE_TOLERANCE:
            self._phase, self._closing = "close", 0
        elif self._phase == "close":
            self._closing += 1
            if self._closing >= CLOSE_STEPS:
                self._phase = "lift"
        elif self._phase == "lift" and position[2] - cube[2] > LOST:
            self._phase = "approach"
