"""Rotations as six numbers, and what an action means: pose actions -> what robosuite's controllers take."""

from __future__ import annotations

import math

import numpy as np

from altbench.api import POSE_ACTION_DIM, Float32, Float64

DEGENERATE = 1e-6  # shorter than this, a rot6d column names no direction


def rot6d_from_matrix(matrix: Float64) -> Float64:
    """First two columns of rotation matrices: (..., 3, 3) -> (..., 6) (Zhou et al. 2019, "On the Continuity of
    Rotation Representations in Neural Networks")."""
    return np.concatenate([matrix[..., :, 0], matrix[..., :, 1]], axis=-1)


def matrix_from_rot6d(rot6d: Float64) -> Float64 | None:
    """Rotation matrix (3, 3) from six numbers by Gram–Schmidt; None where they name none (zero or parallel columns)."""
    columns = unit_columns(np.asarray(rot6d, dtype=np.float64))
    if columns is None:
        return None
    x, y = columns
    matrix: Float64 = np.stack([x, y, np.cross(x, y)], axis=1)
    return matrix


def unit_columns(rot6d: Float64) -> tuple[Float64, Float64] | None:
    """The first two columns (3,) of that matrix, float64 in and out."""
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


def pose_action(position: Float64, matrix: Float64, gripper: float) -> Float32:
    """One arm's `ee_pose` action, float32 (10,): position (m, world), rotation (3, 3), gripper -1 open to 1 closed."""
    action = np.empty(POSE_ACTION_DIM, dtype=np.float32)
    action[:3], action[3:9], action[9] = position, rot6d_from_matrix(matrix), gripper
    return action


def absolute_command(action: Float64, present: Float64) -> tuple[Float64, Float64]:
    """robosuite's absolute command of one arm: (position and rotation vector (6,), gripper (1,)).

    `action` is one arm's `ee_pose` action (10,); `present` the grip site's rotation (3, 3), kept where rot6d names no
    other.
    """
    from scipy.spatial.transform import Rotation

    matrix = matrix_from_rot6d(action[3:9])
    rotation = Rotation.from_matrix(present if matrix is None else matrix).as_rotvec()
    return np.concatenate([action[:3], rotation]), action[9:10]


def matrix_from_rotation_vector(vector: Float64) -> Float64:
    """Rotation (3, 3) by a rotation vector (3,), as robosuite's absolute controllers make it."""
    from scipy.spatial.transform import Rotation

    matrix: Float64 = Rotation.from_rotvec(vector).as_matrix()
    return matrix
