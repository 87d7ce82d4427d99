"""Square: put a square nut on its peg (robosuite's NutAssemblySquare, one Panda)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from altbench.api import Float64, TaskInfo
from altbench_envs.robosuite_env.objects import OBJECT_HIGH, OBJECT_LOW, named_pose, park, place_flat, seen_object
from altbench_envs.robosuite_env.placement import POSE_SPLITS, STATE_SPLITS, Placement
from altbench_envs.robosuite_env.scene import Scene

if TYPE_CHECKING:
    from altbench_envs.robosuite_env.simulator import Simulator

TASK = TaskInfo(
    name="Square",
    version=1,
    horizon=180,
    grid_size=30,
    pose_names=("x", "y", "yaw"),
    splits=(*POSE_SPLITS, *STATE_SPLITS),
    movable=True,
)
TABLE_HEIGHT = 0.82  # m, world; x = y = 0 is the table's centre, the robot stands at x = -0.56 and looks along +x
LYING = TABLE_HEIGHT + 0.01  # m: the nut's centre
UNUSED = {"RoundNut_joint0": 0.01}  # joint -> height on the floor, m
HALF_TURN = float(np.pi)
EIGHTH_TURN = HALF_TURN / 4


class SquareScene(Scene):
    """The nut's pose is (x, y, yaw), its handle pointing along yaw: towards the robot, as on the far
    peg a handle pointing away is out of reach. Success (robosuite's): the nut is around the square
    peg, less than 5 cm above the table, held or not. Extrapolating, the nut lies up to 4 cm outside the range: left or
    right of it, or away from the robot.

    `environment_state` (12,): nut position (3), nut rot6d (6), from the grip site to the nut (3); m, world.
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
    state_bounds = (OBJECT_LOW, OBJECT_HIGH)
    pose_bodies = ("SquareNut_main",)
    moved_joints = ("SquareNut_joint0",)

    def place(self, simulator: Simulator, qpos: Float64, pose: Float64) -> None:
        """Write the nut's pose (x, y, yaw) into `qpos`, flat on the table; the round nut lies out of sight."""
        x, y, yaw = pose
        place_flat(simulator, qpos, "SquareNut_joint0", (x, y, LYING, yaw))
        park(simulator, qpos, UNUSED)

    def environment_state(self, simulator: Simulator) -> Float64:
        """Nut position (3), nut rot6d (6), grip site to nut (3)."""
        return seen_object(simulator, "SquareNut_main")

    def privileged(self, simulator: Simulator) -> dict[str, Float64]:
        """`nut_position` (3,), `nut_quaternion` (4,) xyzw, `handle_position` (3,), `peg_position` (3,), its middle."""
        handle, peg = simulator.data.site("SquareNut_handle_site").xpos, simulator.body("peg1").xpos
        nut = named_pose(simulator, "SquareNut_main", "nut")
        return {**nut, "handle_position": np.array(handle), "peg_position": np.array(peg)}
