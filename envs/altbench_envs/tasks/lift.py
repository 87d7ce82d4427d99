"""Lift: pick up a cube from the table (robosuite's Lift, one Panda)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from altbench.api import Float64, TaskInfo
from altbench_envs.robosuite_env.actions import rot6d_from_matrix
from altbench_envs.robosuite_env.placement import POSE_SPLITS, STATE_SPLITS, Placement
from altbench_envs.robosuite_env.scene import Scene

if TYPE_CHECKING:
    from altbench_envs.robosuite_env.simulator import Simulator

TASK = TaskInfo(
    name="Lift",
    version=1,
    horizon=80,
    grid_size=30,
    pose_names=("x", "y", "yaw"),
    splits=(*POSE_SPLITS, *STATE_SPLITS),
    movable=True,
)
TABLE_HEIGHT = 0.8  # m, world; x = y = 0 is the table's centre, the robot stands at x = -0.56 and looks along +x
HALF_TURN = float(np.pi)
EIGHTH_TURN = HALF_TURN / 4


class LiftScene(Scene):
    """The cube's pose is (x, y, yaw). Success (robosuite's): the cube's centre is 4 cm above the table.

    `environment_state` (12,): cube position (3), cube rot6d (6), from the grip site to the cube (3); m, world.
    """

    info = TASK
    robosuite_name = "Lift"
    workspace = ((-0.30, -0.35, TABLE_HEIGHT), (0.30, 0.35, 1.20))
    placements: ClassVar = {
        "altbench": Placement((-0.14, -0.14, -EIGHTH_TURN), (0.14, 0.14, EIGHTH_TURN), (6, 5), beyond=0.04),
        "robosuite": Placement((-0.03, -0.03, -HALF_TURN), (0.03, 0.03, HALF_TURN), (6, 5), beyond=0.01),
    }
    state_bounds = ((-2.0,) * 3 + (-1.0,) * 6 + (-4.0,) * 3, (2.0,) * 3 + (1.0,) * 6 + (4.0,) * 3)
    pose_bodies = ("cube_main",)
    moved_joints = ("cube_joint0",)

    def place(self, simulator: Simulator, qpos: Float64, pose: Float64) -> None:
        """Write the cube's pose (x, y, yaw) into `qpos`, at rest on the table."""
        address = simulator.joint_address("cube_joint0")
        x, y, yaw = pose
        height = TABLE_HEIGHT + float(simulator.robosuite.cube.size[2])
        qpos[address : address + 7] = (x, y, height, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2))

    def environment_state(self, simulator: Simulator) -> Float64:
        """Cube position (3), cube rot6d (6), grip site to cube (3)."""
        cube = simulator.body("cube_main")
        to_cube = cube.xpos - simulator.site_position(simulator.arms[0])
        return np.concatenate([cube.xpos, rot6d_from_matrix(cube.xmat.reshape(3, 3)), to_cube])

    def privileged(self, simulator: Simulator) -> dict[str, Float64]:
        """`cube_position` (3,) and `cube_quaternion` (4,) xyzw."""
        cube = simulator.body("cube_main")
        return {"cube_position": np.array(cube.xpos), "cube_quaternion": np.roll(cube.xquat, -1)}
