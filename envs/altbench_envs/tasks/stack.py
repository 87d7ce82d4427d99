"""Stack: put the small red cube on the larger green one.

robosuite's Stack, one Panda.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from altbench.api import Float64, TaskInfo
from altbench_envs.robosuite_env.objects import OBJECT_HIGH, OBJECT_LOW, named_pose, place_flat, seen_object
from altbench_envs.robosuite_env.placement import POSE_SPLITS, STATE_SPLITS, Placement
from altbench_envs.robosuite_env.scene import Scene
from altbench_envs.robosuite_env.simulator import Simulator

TASK = TaskInfo(
    name="Stack",
    version=1,
    horizon=140,
    grid_size=30,
    midpoints=18,
    pose_names=("red_x", "red_y", "red_yaw", "green_x", "green_y", "green_yaw"),
    splits=(*STATE_SPLITS, *POSE_SPLITS),
    movable=True,
    instruction="put the red cube on the green cube",
)
TABLE_HEIGHT = 0.8
"""The height (m, world) of the table, whose centre is at x = y = 0.

The robot stands at x = -0.56 and faces +x.
"""
HALF_TURN = float(np.pi)
EIGHTH_TURN = HALF_TURN / 4
APART = 0.08  # m between the cubes' centres: an open gripper fits between them, turned well
TOUCHING = 0.064  # m, robosuite's: the sum of the cubes' half diagonals
EITHER_SIDE = ((1, 1), (1, -1), (4, 1), (4, -1))
EITHER_BACK = ((0, 1), (3, 1))


def _placement(reach: float, yaw: float, apart: float, beyond: float) -> Placement:
    """Return a placement of both cubes within `reach` (m) of the table's centre.

    Their centres are at least `apart` (m) apart; the red cube is on the grid.
    """
    low, high = (-reach, -reach, -yaw) * 2, (reach, reach, yaw) * 2
    return Placement(low, high, (6, 5), beyond, EITHER_SIDE, EITHER_BACK, lambda pose: _distance(pose) >= apart)


def _distance(pose: Float64) -> float:
    return float(np.hypot(pose[0] - pose[3], pose[1] - pose[4]))


class StackScene(Scene):
    """A red and a green cube on a table; the pose is (x, y, yaw) of red, then of green.

    Success (robosuite's): red touches green and not the table, and the gripper has let
    go. The grid is the red cube's; the green one's place at each grid pose was drawn
    once. When extrapolating, either cube lies up to 4 cm outside the range.

    `environment_state` (24,), for the red and then the green cube: position (3), rot6d
    (6), from the grip site to it (3); m, world.
    """

    info = TASK
    robosuite_name = "Stack"
    workspace = ((-0.30, -0.35, TABLE_HEIGHT), (0.30, 0.35, 1.20))
    placements: ClassVar = {
        "altbench": _placement(0.14, EIGHTH_TURN, APART, beyond=0.04),
        "robosuite": _placement(0.08, HALF_TURN, TOUCHING, beyond=0.02),
    }
    state_bounds = (OBJECT_LOW * 2, OBJECT_HIGH * 2)
    pose_bodies = ("cubeA_main", "cubeB_main")
    moved_joints = ("cubeA_joint0",)

    def place(self, simulator: Simulator, qpos: Float64, pose: Float64) -> None:
        """Write both cubes' (x, y, yaw) into `qpos`, at rest on the table."""
        for name, (x, y, yaw) in (("cubeA", pose[:3]), ("cubeB", pose[3:])):
            height = TABLE_HEIGHT + float(getattr(simulator.robosuite, name).size[2])
            place_flat(simulator, qpos, f"{name}_joint0", (x, y, height, yaw))

    def environment_state(self, simulator: Simulator) -> Float64:
        """Return the state of the red and then of the green cube.

        Position (3), rot6d (6), grip site to cube (3) each.
        """
        return np.concatenate([seen_object(simulator, body) for body in ("cubeA_main", "cubeB_main")])

    def privileged(self, simulator: Simulator) -> dict[str, Float64]:
        """Return `red_position` (3,), `red_quaternion` (4,) xyzw, and green's."""
        return {**named_pose(simulator, "cubeA_main", "red"), **named_pose(simulator, "cubeB_main", "green")}
