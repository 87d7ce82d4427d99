"""ToolHang: put an L-shaped frame into its stand, then hang a wrench on it.

robosuite's ToolHang, one Panda.
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
    name="ToolHang",
    version=1,
    horizon=500,
    grid_size=30,
    midpoints=20,
    pose_names=("frame_x", "frame_y", "frame_yaw", "tool_x", "tool_y", "tool_yaw"),
    splits=(*STATE_SPLITS, *POSE_SPLITS),
    movable=True,
    instruction="put the frame into the stand and hang the wrench on it",
)
TABLE_HEIGHT = 0.8
"""The height (m, world) of the table, whose centre is at x = y = 0.

The robot stands at x = -0.56 and faces +x.
"""
STAND = (-0.08, 0.0, TABLE_HEIGHT + 0.08, 0.0)  # x, y, z, yaw: where robosuite always puts it
FRAME_LYING, TOOL_LYING = TABLE_HEIGHT + 0.0127, TABLE_HEIGHT + 0.015  # m: their bodies' centres, on their grips
FRAME_YAW, TOOL_YAW = float(np.deg2rad(60)), float(np.deg2rad(-110))
TURN = float(np.deg2rad(10))
EITHER_SIDE = ((1, 1), (1, -1), (4, 1), (4, -1))
EITHER_BACK = ((0, 1), (3, 1))
APART = 0.06  # m between the bodies' centres: a gripper fits between their grips


def _placement(reach: float, beyond: float) -> Placement:
    """Return a placement of frame and tool near robosuite's own places.

    Within `reach` (m) of them, turned by up to ten degrees.
    """
    centre = np.array([-0.04, -0.24, FRAME_YAW, 0.04, -0.20, TOOL_YAW])
    half = np.array([reach, reach, TURN] * 2)
    low, high = (tuple(float(v) for v in values) for values in (centre - half, centre + half))
    return Placement(low, high, (6, 5), beyond, EITHER_SIDE, EITHER_BACK, _apart)


def _apart(pose: Float64) -> bool:
    return float(np.hypot(pose[0] - pose[3], pose[1] - pose[4])) >= APART


class ToolHangScene(Scene):
    """A frame and a wrench that lie on a table, and a stand.

    The pose is (x, y, yaw) of the frame, then of the wrench. The frame's rod points
    along its yaw. The wrench's end far from the hole by which it hangs points along its
    yaw. The stand stays where robosuite puts it. Success (robosuite's): the frame
    stands in the stand, the wrench hangs on the frame by that hole, and the gripper
    does not touch the wrench.

    The grid is the frame's place; the rest of each pose was drawn once. When
    extrapolating, frame or wrench lies up to 2 cm outside the range: nearer to the
    robot's left or right, or away from it.

    `environment_state` (36,), for stand, frame and wrench: position (3), rot6d (6),
    from the grip site to it (3); m, world.
    """

    info = TASK
    robosuite_name = "ToolHang"
    workspace = ((-0.35, -0.50, TABLE_HEIGHT), (0.30, 0.40, 1.35))
    placements: ClassVar = {"altbench": _placement(0.03, beyond=0.02), "robosuite": _placement(0.02, beyond=0.01)}
    state_bounds = (OBJECT_LOW * 3, OBJECT_HIGH * 3)
    moved_joints = ("frame_joint0",)

    def place(self, simulator: Simulator, qpos: Float64, pose: Float64) -> None:
        """Write (x, y, yaw) of frame and wrench into `qpos`, at rest, and the stand."""
        from scipy.spatial.transform import Rotation

        place_flat(simulator, qpos, "stand_joint0", STAND)
        x, y, yaw = pose[3:]
        place_flat(simulator, qpos, "tool_joint0", (x, y, TOOL_LYING, yaw))
        x, y, yaw = pose[:3]
        cos, sin = np.cos(yaw), np.sin(yaw)
        lying = Rotation.from_matrix([[-sin, 0.0, -cos], [cos, 0.0, -sin], [0.0, -1.0, 0.0]])
        address = simulator.joint_address("frame_joint0")
        qpos[address : address + 3] = x, y, FRAME_LYING
        qpos[address + 3 : address + 7] = np.roll(lying.as_quat(), 1)  # wxyz

    def environment_state(self, simulator: Simulator) -> Float64:
        """Return position (3), rot6d (6), grip site to it (3) of every object.

        Stand, frame and wrench, in this order.
        """
        return np.concatenate([seen_object(simulator, f"{name}_root") for name in ("stand", "frame", "tool")])

    def privileged(self, simulator: Simulator) -> dict[str, Float64]:
        """Return `NAME_position` (3,) and `NAME_quaternion` (4,) xyzw of every object.

        stand, frame, tool.
        """
        poses: dict[str, Float64] = {}
        for name in ("stand", "frame", "tool"):
            poses.update(named_pose(simulator, f"{name}_root", name))
        return poses

    def object_pose(self, simulator: Simulator) -> Float64:
        """Return (x, y, yaw) of frame and wrench in the present state."""
        frame, tool = simulator.body("frame_root"), simulator.body("tool_root")
        rod, far = -frame.xmat.reshape(3, 3)[:, 2], tool.xmat.reshape(3, 3)[:, 0]
        yaws = np.arctan2(rod[1], rod[0]), np.arctan2(far[1], far[0])
        return np.array([*frame.xpos[:2], yaws[0], *tool.xpos[:2], yaws[1]])
