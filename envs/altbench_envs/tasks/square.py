"""Square: put a square nut on its peg (robosuite's NutAssemblySquare, one Panda)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from altbench.api import Float64, TaskInfo
from altbench_envs.robosuite_env.objects import named_pose
from altbench_envs.robosuite_env.placement import POSE_SPLITS, STATE_SPLITS, Placement
from altbench_envs.robosuite_env.simulator import Simulator
from altbench_envs.robosuite_env.single_object import SingleObjectScene

TASK = TaskInfo(
    name="Square",
    version=1,
    horizon=180,
    grid_size=30,
    midpoints=20,
    pose_names=("x", "y", "yaw"),
    splits=(*STATE_SPLITS, *POSE_SPLITS),
    movable=True,
    instruction="put the square nut on the square peg",
)
TABLE_HEIGHT = 0.82
"""The height (m, world) of the table, whose centre is at x = y = 0.

The robot stands at x = -0.56 and faces +x.
"""
LYING = TABLE_HEIGHT + 0.01  # m: the nut's centre
UNUSED = {"RoundNut_joint0": 0.01}  # joint -> height on the floor, m
HALF_TURN = float(np.pi)
EIGHTH_TURN = HALF_TURN / 4


class SquareScene(SingleObjectScene):
    """A square nut on a table with pegs; its pose is (x, y, yaw).

    The handle points along yaw. It points towards the robot, because on the far peg a
    handle that points away is out of reach. Success (robosuite's): the nut is around
    the square peg, less than 5 cm above the table, held or not. When extrapolating, the
    nut lies up to 4 cm outside the range: left, right, or away from the robot.
    """

    info = TASK
    robosuite_name = "NutAssemblySquare"
    workspace = ((-0.30, -0.35, TABLE_HEIGHT), (0.35, 0.40, 1.20))
    placements: ClassVar = {
        "altbench": Placement(
            (-0.13, 0.02, HALF_TURN - EIGHTH_TURN), (0.05, 0.24, HALF_TURN + EIGHTH_TURN), (6, 5), beyond=0.04
        ),
        "robosuite": Placement((-0.115, 0.11, -HALF_TURN), (-0.11, 0.225, HALF_TURN), (6, 5), beyond=0.01),
    }
    pose_bodies = ("SquareNut_main",)
    moved_joints = ("SquareNut_joint0",)
    unused = UNUSED

    def resting_height(self, simulator: Simulator) -> float:
        """Return the height of a flat nut's centre."""
        del simulator
        return LYING

    def privileged(self, simulator: Simulator) -> dict[str, Float64]:
        """Return the poses of the nut and the positions of its handle and the peg.

        `nut_position` (3,), `nut_quaternion` (4,) xyzw, `handle_position` (3,),
        `peg_position` (3,), the peg's middle.
        """
        handle, peg = simulator.data.site("SquareNut_handle_site").xpos, simulator.body("peg1").xpos
        nut = named_pose(simulator, "SquareNut_main", "nut")
        return {**nut, "handle_position": np.array(handle), "peg_position": np.array(peg)}
