"""Door: turn the handle and pull the door open.

robosuite's Door with its latch, one Panda.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from altbench.api import Float64, TaskInfo
from altbench_envs.robosuite_env.actions import rot6d_from_matrix
from altbench_envs.robosuite_env.objects import OBJECT_HIGH, OBJECT_LOW, named_pose
from altbench_envs.robosuite_env.placement import POSE_SPLITS, STATE_SPLITS, Placement
from altbench_envs.robosuite_env.scene import Scene
from altbench_envs.robosuite_env.simulator import Simulator

TASK = TaskInfo(
    name="Door",
    version=1,
    horizon=140,
    grid_size=30,
    midpoints=20,
    pose_names=("x", "y", "yaw"),
    splits=(*STATE_SPLITS, *POSE_SPLITS),
    instruction="turn the handle and pull the door open",
)
DOOR_HEIGHT = 1.1
"""The height (m, world) of the door's middle.

The robot stands at x = -0.56 and faces +x; the door is to its right.
"""
FACING_LEFT = -float(np.pi) / 2  # rad: the door's yaw when it faces +y
HINGE, LATCH = "Door_hinge", "Door_latch_joint"


class DoorScene(Scene):
    """A door that is shut; its frame's pose is (x, y, yaw).

    Success (robosuite's): the door has turned by 0.3 rad about its hinge, for which the
    handle must be turned first. When extrapolating, the door stands up to 4 cm outside
    the range: nearer to the robot's left or right, or away from the robot.

    The frame has no joint, so its pose is in the model and in
    `InitialState.object_pose`, not in `sim_state`.

    `environment_state` (14,): handle position (3), handle rot6d (6), from the grip site
    to the handle (3), m, world; angles of hinge and latch (rad).
    """

    info = TASK
    robosuite_name = "Door"
    # robosuite's agentview misses most of the door
    cameras: ClassVar = {"agentview": "frontview", "wrist": "robot0_eye_in_hand"}
    workspace = ((-0.40, -0.60, 0.82), (0.20, 0.30, 1.35))
    placements: ClassVar = {
        "altbench": Placement(
            (-0.18, -0.52, FACING_LEFT - 0.25), (-0.06, -0.28, FACING_LEFT + 0.25), (6, 5), beyond=0.04
        ),
        "robosuite": Placement((-0.13, -0.36, FACING_LEFT - 0.25), (-0.11, -0.34, FACING_LEFT), (6, 5), beyond=0.01),
    }
    state_bounds = ((*OBJECT_LOW, -4.0, -4.0), (*OBJECT_HIGH, 4.0, 4.0))
    pose_bodies = ("Door_main",)
    fixed_bodies: ClassVar = {"Door_main": DOOR_HEIGHT}

    def place(self, simulator: Simulator, qpos: Float64, pose: Float64) -> None:
        """Write the frame's pose (x, y, yaw) into the model, and shut the door."""
        x, y, yaw = pose
        frame = simulator.model.body("Door_main").id
        simulator.model.body_pos[frame] = (x, y, DOOR_HEIGHT)
        simulator.model.body_quat[frame] = (np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2))
        qpos[[simulator.joint_address(HINGE), simulator.joint_address(LATCH)]] = 0.0

    def environment_state(self, simulator: Simulator) -> Float64:
        """Return handle position (3), rot6d (6), grip site to handle (3), angles (2).

        The angles are the hinge's and the latch's.
        """
        handle = simulator.data.site("Door_handle")
        angles = simulator.data.qpos[[simulator.joint_address(HINGE), simulator.joint_address(LATCH)]]
        to_handle = handle.xpos - simulator.site_position(simulator.arms[0])
        return np.concatenate([handle.xpos, rot6d_from_matrix(handle.xmat.reshape(3, 3)), to_handle, angles])

    def privileged(self, simulator: Simulator) -> dict[str, Float64]:
        """Return points and poses of the door's parts.

        `handle_position`, `hinge_position` (3,): points of the lever and of the hinge's
        axis. Position (3,) and quaternion (4,) xyzw of `latch`, the body that turns
        with the lever, and of `door`.
        """
        handle, hinge = simulator.data.site("Door_handle"), simulator.data.joint(HINGE)
        points = {"handle_position": np.array(handle.xpos), "hinge_position": np.array(hinge.xanchor)}
        latch, door = (named_pose(simulator, f"Door_{name}", name) for name in ("latch", "door"))
        return {**points, **latch, **door}
