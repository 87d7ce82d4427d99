"""Rotations as six numbers, and pose actions as robosuite's commands."""

from __future__ import annotations

import math

import numpy as np

from altbench.api import POSE_ACTION_DIM, Float32, Float64

DEGENERATE = 1e-6
"""The length below which a rot6d column defines no direction."""


def rot6d_from_matrix(matrix: Float64) -> Float64:
    """Return the first two columns of rotation matrices: (..., 3, 3) -> (..., 6).

    Zhou et al. 2019, "On the Continuity of Rotation Representations in Neural
    Networks".
    """
    return np.concatenate([matrix[..., :, 0], matrix[..., :, 1]], axis=-1)


def matrix_from_rot6d(rot6d: Float64) -> Float64 | None:
    """Return the rotation matrix (3, 3) of six numbers, by Gram–Schmidt.

    None if they define no rotation (zero or parallel columns).
    """
    columns = unit_columns(np.asarray(rot6d, dtype=np.float64))
    if columns is None:
        return None
    x, y = columns
    matrix: Float64 = np.stack([x, y, np.cross(x, y)], axis=1)
    return matrix


def unit_columns(rot6d: Float64) -> tuple[Float64, Float64] | None:
    """Return the first two columns (3,) of that matrix; None as there.

    float64 in and out.
    """
    first, second = rot6d[:3], rot6d[3:]
    length = math.sqrt(first.dot(first))
    if length < DEGENERATE:
        return None
    x = first / length
    y = second - x.dot(second) * x
    length = math.sqrt(y.dot(y))
    if length < DEGENERATE:
        return None
    y /= length
    return x, y


def turns_between(present: Float64, wanted: Float64) -> Float64:
    """Return the turns from one orientation to another, as rotation vectors (T, 3).

    Both are rot6d (T, 6). Where `wanted` defines no rotation, nothing turns.
    """
    from scipy.spatial.transform import Rotation

    turns = np.zeros((len(present), 3))
    for row, (here, there) in enumerate(zip(present, wanted, strict=True)):
        first, second = matrix_from_rot6d(here), matrix_from_rot6d(there)
        if first is not None and second is not None:
            turns[row] = Rotation.from_matrix(second @ first.T).as_rotvec()
    return turns


def pose_action(position: Float64, matrix: Float64, gripper: float) -> Float32:
    """Return one arm's `ee_pose` action, float32 (10,).

    From position (m, world), rotation (3, 3), gripper (-1 open to 1 closed).
    """
    action = np.empty(POSE_ACTION_DIM, dtype=np.float32)
    action[:3], action[3:9], action[9] = position, rot6d_from_matrix(matrix), gripper
    return action


def absolute_command(action: Float64, present: Float64) -> tuple[Float64, Float64]:
    """Return robosuite's absolute command of one arm.

    (Position and rotation vector (6,), gripper (1,)). `action`: one arm's `ee_pose`
    action (10,). `present`: the grip site's rotation (3, 3), which is kept if rot6d
    defines no rotation.
    """
    from scipy.spatial.transform import Rotation

    matrix = matrix_from_rot6d(action[3:9])
    rotation = Rotation.from_matrix(present if matrix is None else matrix).as_rotvec()
    return np.concatenate([action[:3], rotation]), action[9:10]


def matrix_from_rotation_vector(vector: Float64) -> Float64:
    """Return the rotation (3, 3) of a rotation vector (3,).

    robosuite's absolute controllers compute it in the same way.
    """
    from scipy.spatial.transform import Rotation

    matrix: Float64 = Rotation.from_rotvec(vector).as_matrix()
    return matrix
