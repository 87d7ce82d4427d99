"""Can: carry a can from one bin to its compartment of the next.

robosuite's PickPlaceCan, one Panda.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from altbench.api import Float64, TaskInfo
from altbench_envs.robosuite_env.objects import named_pose
from altbench_envs.robosuite_env.placement import POSE_SPLITS, STATE_SPLITS, Placement
from altbench_envs.robosuite_env.simulator import Simulator
from altbench_envs.robosuite_env.single_object import SingleObjectScene

TASK = TaskInfo(
    name="Can",
    version=1,
    horizon=200,
    grid_size=30,
    midpoints=20,
    pose_names=("x", "y", "yaw"),
    splits=(*STATE_SPLITS, *POSE_SPLITS),
    movable=True,
    instruction="put the can into its compartment of the other bin",
)
BIN_FLOOR = 0.82  # m, world; the can's bin is centred on (0.10, -0.25), the robot stands at (-0.50, -0.10)
STANDING = BIN_FLOOR + 0.0403  # m: the can's centre when it stands
UNUSED = {"Milk_joint0": 0.061, "Bread_joint0": 0.023, "Cereal_joint0": 0.075}  # joint -> height on the floor, m
HALF_TURN = float(np.pi)
LOW, HIGH = (-0.01, -0.41, -HALF_TURN), (0.21, -0.09, HALF_TURN)  # robosuite's: as far as a can fits beside the walls


class CanScene(SingleObjectScene):
    """A can in a bin, to be carried to its compartment; its pose is (x, y, yaw).

    Success (robosuite's): the can is in the compartment away from the robot and to the
    left, and the gripper is more than 4 cm from it. The range is robosuite's own, in
    which blind replay has no chance. When extrapolating, the can lies up to 3 cm nearer
    to one of the bin's walls: left, right, or away from the robot.
    """

    info = TASK
    robosuite_name = "PickPlaceCan"
    workspace = ((-0.25, -0.50, 0.82), (0.40, 0.55, 1.20))
    placements: ClassVar = {
        "altbench": Placement(LOW, HIGH, (6, 5), beyond=0.03),
        "robosuite": Placement(LOW, HIGH, (6, 5), beyond=0.03),
    }
    pose_bodies = ("Can_main",)
    moved_joints = ("Can_joint0",)
    unused = UNUSED

    def resting_height(self, simulator: Simulator) -> float:
        """Return the height of a standing can's centre."""
        del simulator
        return STANDING

    def privileged(self, simulator: Simulator) -> dict[str, Float64]:
        """Return `can_position` (3,), `can_quaternion` (4,) xyzw, `goal_position` (3,).

        The goal is a can's place in its compartment.
        """
        goal = np.array(simulator.body("VisualCan_main").xpos)
        return {**named_pose(simulator, "Can_main", "can"), "goal_position": goal}
