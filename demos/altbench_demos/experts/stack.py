"""The scripted expert for Stack: put the red cube on the green one, and let go."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from altbench.api import Float64
from altbench_demos.experts.pick_and_place import PickAndPlace, Plan
from altbench_demos.experts.waypoints import QUARTER_TURN, UP, nearest_quarter, yaw_of

GRASP_BELOW_CENTRE = 0.005
"""m: how far below the cube's centre the grip site closes."""
ON_TOP = 0.045
"""m between the centres of stacked cubes."""
ALIGNED, RESTING = 0.008, 0.004
"""m, sideways and above: how near to its place the cube is let go."""
CLEAR = 0.12
"""m between the cubes: further apart, an open gripper fits between at any yaw."""


class StackExpert(PickAndPlace):
    """The `altbench.api.Expert` for Stack."""

    floor = 0.8
    carry_height = (0.03, 0.06)

    def plan(self, poses: Mapping[str, Float64]) -> Plan:
        """Plan from the cubes' poses."""
        red, green = poses["red_position"], poses["green_position"]
        goal = green + ON_TOP * UP
        off = red - goal
        return Plan(
            grasp=red - GRASP_BELOW_CENTRE * UP,
            grasp_yaw=_grasp_yaw(yaw_of(poses["red_quaternion"]), (green - red)[:2]),
            held=red,
            goal=goal,
            arrived=bool(np.linalg.norm(off[:2]) < ALIGNED and off[2] < RESTING),
        )


def _grasp_yaw(red_yaw: float, to_green: Float64) -> float:
    """Return the yaw (rad) at which to grasp the red cube by two of its sides.

    If the green cube is near, the fingers take the sides that it is not beside.
    """
    yaw = nearest_quarter(red_yaw)
    if np.linalg.norm(to_green) > CLEAR:
        return yaw
    other = yaw - QUARTER_TURN if yaw > 0 else yaw + QUARTER_TURN
    # The fingers close across the gripper's x axis: it must point at the green cube.
    return max(yaw, other, key=lambda y: abs(float(to_green @ [np.cos(y), np.sin(y)])))
