"""Transport: one arm hands a hammer from a closed bin to the other arm.

The other arm has first cleared the bin that receives the hammer. robosuite's
TwoArmTransport, two Pandas.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from altbench.api import Float64, TaskInfo
from altbench_envs.robosuite_env.actions import rot6d_from_matrix
from altbench_envs.robosuite_env.objects import named_pose, place_flat
from altbench_envs.robosuite_env.placement import POSE_SPLITS, STATE_SPLITS, Placement
from altbench_envs.robosuite_env.scene import Scene
from altbench_envs.robosuite_env.simulator import Simulator

TASK = TaskInfo(
    name="Transport",
    version=1,
    horizon=450,
    grid_size=30,
    midpoints=20,
    pose_names=("start_x", "start_y", "payload_yaw", "target_x", "target_y", "trash_yaw"),
    splits=(*STATE_SPLITS, *POSE_SPLITS),
    cameras=("agentview", "wrist_right", "wrist_left"),
    arms=2,
    movable=True,
    instruction="clear the target bin, and hand the hammer from the closed bin over into it",
)
TABLE_HEIGHT = 0.8
"""The height (m, world) of the tables.

The right arm stands at y = -0.81 and faces +y; the left arm at 0.81 faces it.
"""
BIN_CENTRE = TABLE_HEIGHT + 0.075  # m: bins are 0.3 m wide and 0.15 m high, their walls and floors 1 cm thick
BIN_FLOOR = TABLE_HEIGHT + 0.01
LID_CENTRE = TABLE_HEIGHT + 0.15 + 0.02
LYING_PAYLOAD, LYING_TRASH = BIN_FLOOR + 0.016, BIN_FLOOR + 0.02
OFF_CENTRE = (
    0.016  # m along its handle: the payload lies with its whole length centred, so that its head clears the wall
)
TRASH_BIN = (0.2, 0.45)  # m
SIXTH_TURN, EIGHTH_TURN = float(np.pi) / 6, float(np.pi) / 4
HEAD_TO_RIGHT_ARM = np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, -1.0, 0.0]])  # the payload's rotation, yaw 0
OBJECTS = {  # our names -> the model's bodies
    "payload": "payload_root",
    "lid": "transport_start_bin_lid_root",
    "trash": "trash_main",
    "start_bin": "transport_start_bin_root",
    "target_bin": "transport_target_bin_root",
    "trash_bin": "transport_trash_bin_root",
}
MOVABLE, BINS = ("payload", "lid", "trash"), ("start_bin", "target_bin", "trash_bin")
EITHER_SIDE = ((0, 1), (0, -1), (3, 1), (3, -1))
EITHER_BACK = ((1, 1), (4, -1))


class TransportScene(Scene):
    """A start bin with a hammer under a lid, a target bin with trash, and a trash bin.

    The pose is the start bin's place (x, y), the hammer's yaw in it, the target bin's
    place (x, y), and the yaw of the trash, a cube, in it. The trash bin stays where it
    is. Success (robosuite's): the hammer (payload) touches the target bin's floor, and
    the trash touches the trash bin's.

    The grid is the start bin's place; the rest of each pose was drawn once. When
    extrapolating, either bin stands up to 3 cm outside the range: to a side of its arm,
    or further away from it.

    The first camera is robosuite's `frontview`, because its `agentview` cuts the start
    bin off.

    `environment_state` (54,): of payload, lid and trash position (3), rot6d (6), from
    the right and from the left grip site to it (3 each); positions of start, target and
    trash bin (3 each); m, world.
    """

    info = TASK
    robosuite_name = "TwoArmTransport"
    robots = ("Panda", "Panda")
    cameras: ClassVar = {
        "agentview": "frontview",
        "wrist_right": "robot0_eye_in_hand",
        "wrist_left": "robot1_eye_in_hand",
    }
    workspace = ((-0.50, -0.65, TABLE_HEIGHT), (0.50, 0.65, 1.35))
    placements: ClassVar = {
        "altbench": Placement(
            (0.10, -0.49, -SIXTH_TURN, -0.26, 0.41, -EIGHTH_TURN),
            (0.28, -0.41, SIXTH_TURN, -0.14, 0.49, EIGHTH_TURN),
            (6, 5),
            0.03,
            EITHER_SIDE,
            EITHER_BACK,
        ),
        "robosuite": Placement(
            (0.195, -0.455, -SIXTH_TURN, -0.205, 0.445, -0.3 * np.pi),
            (0.205, -0.445, SIXTH_TURN, -0.195, 0.455, 0.3 * np.pi),
            (6, 5),
            0.005,
            EITHER_SIDE,
            EITHER_BACK,
        ),
    }
    state_bounds = (
        ((-2.0,) * 3 + (-1.0,) * 6 + (-4.0,) * 6) * 3 + (-2.0,) * 9,
        ((2.0,) * 3 + (1.0,) * 6 + (4.0,) * 6) * 3 + (2.0,) * 9,
    )
    moved_joints = ("transport_start_bin_joint0", "transport_start_bin_lid_joint0", "payload_joint0")

    def place(self, simulator: Simulator, qpos: Float64, pose: Float64) -> None:
        """Write both bins' places (x, y) and the yaws of their contents into `qpos`.

        Everything is at rest.
        """
        from scipy.spatial.transform import Rotation

        start, payload_yaw, target, trash_yaw = pose[:2], pose[2], pose[3:5], pose[5]
        place_flat(simulator, qpos, "transport_start_bin_joint0", (*start, BIN_CENTRE, 0.0))
        place_flat(simulator, qpos, "transport_start_bin_lid_joint0", (*start, LID_CENTRE, 0.0))
        place_flat(simulator, qpos, "transport_target_bin_joint0", (*target, BIN_CENTRE, 0.0))
        place_flat(simulator, qpos, "transport_trash_bin_joint0", (*TRASH_BIN, BIN_CENTRE, 0.0))
        place_flat(simulator, qpos, "trash_joint0", (*target, LYING_TRASH, trash_yaw))
        turned = Rotation.from_euler("z", payload_yaw) * Rotation.from_matrix(HEAD_TO_RIGHT_ARM)
        address = simulator.joint_address("payload_joint0")
        handle = turned.apply([0.0, 0.0, -1.0])
        qpos[address : address + 3] = (*(start + OFF_CENTRE * handle[:2]), LYING_PAYLOAD)
        qpos[address + 3 : address + 7] = np.roll(turned.as_quat(), 1)  # wxyz

    def environment_state(self, simulator: Simulator) -> Float64:
        """Return the state of payload, lid, trash and bins.

        For payload, lid and trash: position (3), rot6d (6), right grip site to it (3),
        left grip site to it (3). Then the bins' positions (3 each).
        """
        parts = []
        for name in MOVABLE:
            body = simulator.body(OBJECTS[name])
            parts += [body.xpos, rot6d_from_matrix(body.xmat.reshape(3, 3))]
            parts += [body.xpos - simulator.site_position(arm) for arm in simulator.arms]
        return np.concatenate([*parts, *(simulator.body(OBJECTS[name]).xpos for name in BINS)])

    def privileged(self, simulator: Simulator) -> dict[str, Float64]:
        """Return `NAME_position` (3,) and `NAME_quaternion` (4,) xyzw of every object.

        payload, lid, trash, start_bin, target_bin, trash_bin.
        """
        poses: dict[str, Float64] = {}
        for name, body in OBJECTS.items():
            poses.update(named_pose(simulator, body, name))
        return poses

    def object_pose(self, simulator: Simulator) -> Float64:
        """Return the pose variables of the present state.

        (start_x, start_y, payload_yaw, target_x, target_y, trash_yaw).
        """
        payload, trash = (simulator.body(OBJECTS[name]).xmat.reshape(3, 3) for name in ("payload", "trash"))
        yaws = np.arctan2(payload[0, 2], -payload[1, 2]), np.arctan2(trash[1, 0], trash[0, 0])
        start, target = (simulator.body(OBJECTS[name]).xpos[:2] for name in ("start_bin", "target_bin"))
        return np.array([*start, yaws[0], *target, yaws[1]])
