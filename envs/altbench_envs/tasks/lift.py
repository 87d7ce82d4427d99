"""Lift: pick up a cube from the table (robosuite's Lift, one Panda)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from altbench.api import Float64, TaskInfo
from altbench_envs.robosuite_env.objects import named_pose
from altbench_envs.robosuite_env.placement import POSE_SPLITS, STATE_SPLITS, Placement
from altbench_envs.robosuite_env.simulator import Simulator
from altbench_envs.robosuite_env.single_object import SingleObjectScene

TASK = TaskInfo(
    name="Lift",
    version=1,
    horizon=80,
    grid_size=30,
    midpoints=20,
    pose_names=("x", "y", "yaw"),
    splits=(*STATE_SPLITS, *POSE_SPLITS),
    movable=True,
    instruction="lift the cube",
)
TABLE_HEIGHT = 0.8
"""The height (m, world) of the table, whose centre is at x = y = 0.

The robot stands at x = -0.56 and faces +x.
"""
HALF_TURN = float(np.pi)
EIGHTH_TURN = HALF_TURN / 4


class LiftScene(SingleObjectScene):
    """A cube on a table; its pose is (x, y, yaw).

    Success (robosuite's): the cube's centre is 4 cm above the table.
    """

    info = TASK
    robosuite_name = "Lift"
    workspace = ((-0.30, -0.35, TABLE_HEIGHT), (0.30, 0.35, 1.20))
    placements: ClassVar = {
        "altbench": Placement((-0.14, -0.14, -EIGHTH_TURN), (0.14, 0.14, EIGHTH_TURN), (6, 5), beyond=0.04),
        "robosuite": Placement((-0.03, -0.03, -HALF_TURN), (0.03, 0.03, HALF_TURN), (6, 5), beyond=0.01),
    }
    pose_bodies = ("cube_main",)
    moved_joints = ("cube_joint0",)

    def resting_height(self, simulator: Simulator) -> float:
        """Return the height of the cube's centre on the table.

        robosuite draws the cube's size when it builds the model.
        """
        return TABLE_HEIGHT + float(simulator.robosuite.cube.size[2])

    def privileged(self, simulator: Simulator) -> dict[str, Float64]:
        """Return `cube_position` (3,) and `cube_quaternion` (4,) xyzw."""
        return named_pose(simulator, "cube_main", "cube")
