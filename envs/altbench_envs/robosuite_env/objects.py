"""Helpers for scenes with objects on a table.

They write flat poses into qpos, and read what observations and experts contain.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from altbench.api import Float64
from altbench_envs.robosuite_env.actions import rot6d_from_matrix
from altbench_envs.robosuite_env.simulator import Simulator

OBJECT_LOW = (-2.0,) * 3 + (-1.0,) * 6 + (-4.0,) * 3
"""The lower bounds of `seen_object`: m, rot6d, m."""
OBJECT_HIGH = (2.0,) * 3 + (1.0,) * 6 + (4.0,) * 3
"""The upper bounds of `seen_object`: m, rot6d, m."""
OUT_OF_SIGHT = 10.0
"""The x and y (m) at which robosuite puts the objects that a task does not use."""


def place_flat(simulator: Simulator, qpos: Float64, joint: str, pose: tuple[float, float, float, float]) -> None:
    """Write (x, y, z, yaw) of a free body, m and rad in the world, into `qpos`."""
    x, y, z, yaw = pose
    address = simulator.joint_address(joint)
    qpos[address : address + 7] = (x, y, z, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2))


def park(simulator: Simulator, qpos: Float64, heights: Mapping[str, float]) -> None:
    """Place free joints on the floor, out of sight.

    `heights`: joint -> the height (m) at which its body rests. robosuite would let
    these bodies fall from 10 m.
    """
    for number, (joint, height) in enumerate(heights.items()):
        place_flat(simulator, qpos, joint, (OUT_OF_SIGHT + number, OUT_OF_SIGHT, height, 0.0))


def seen_object(simulator: Simulator, body: str) -> Float64:
    """Return position (3), rot6d (6), from the grip site to it (3) of a body.

    (12,), m, world.
    """
    found = simulator.body(body)
    to_object = found.xpos - simulator.site_position(simulator.arms[0])
    return np.concatenate([found.xpos, rot6d_from_matrix(found.xmat.reshape(3, 3)), to_object])


def named_pose(simulator: Simulator, body: str, name: str) -> dict[str, Float64]:
    """Return `NAME_position` (3,) and `NAME_quaternion` (4,) xyzw of a body.

    Metres, world frame.
    """
    found = simulator.body(body)
    return {f"{name}_position": np.array(found.xpos), f"{name}_quaternion": np.roll(found.xquat, -1)}
