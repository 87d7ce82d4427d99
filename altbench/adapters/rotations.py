"""Rotations as numbers, in the forms that policies use, and as matrices.

All forms but `rot6d` and its relatives are scipy's (`scipy.spatial.transform.Rotation`).
"""

from __future__ import annotations

import numpy as np

from altbench.core.types import Float64

LENGTHS = {
    "rot6d": 6,
    "rot6d_rows": 6,
    "rot6d_interleaved": 6,
    "quat_xyzw": 4,
    "quat_wxyz": 4,
    "rotvec": 3,
    "euler_xyz": 3,
    "euler_zyx": 3,
    "euler_xyz_intrinsic": 3,
    "euler_zyx_intrinsic": 3,
}
"""Numbers of each form."""
HAND = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
"""The hand's orientation as the grip site sees it: a quarter turn about z."""
SMALLEST = 1e-9
"""The least length of a vector that has a direction."""


def numbers(matrices: Float64, form: str) -> Float64:
    """Return rotations (..., 3, 3) in `form`, (..., n).

    Quaternions have a real part of 0 or more.
    """
    from scipy.spatial.transform import Rotation

    if form == "rot6d":
        return np.concatenate([matrices[..., :, 0], matrices[..., :, 1]], axis=-1)
    if form == "rot6d_rows":
        return np.concatenate([matrices[..., 0, :], matrices[..., 1, :]], axis=-1)
    if form == "rot6d_interleaved":
        return np.ascontiguousarray(matrices[..., :, :2]).reshape(*matrices.shape[:-2], 6)
    rotation = Rotation.from_matrix(matrices.reshape(-1, 3, 3))
    if form == "quat_xyzw":
        found = rotation.as_quat(canonical=True)
    elif form == "quat_wxyz":
        found = np.roll(rotation.as_quat(canonical=True), 1, axis=-1)
    elif form == "rotvec":
        found = rotation.as_rotvec()
    else:
        found = rotation.as_euler(_axes(form))
    return np.asarray(found, np.float64).reshape(*matrices.shape[:-2], LENGTHS[form])


def matrices(values: Float64, form: str) -> Float64:
    """Return rotations (..., 3, 3) from their numbers (..., n) in `form`.

    What has no direction, such as a quaternion of zeros, is no rotation at all.
    """
    from scipy.spatial.transform import Rotation

    shape = values.shape[:-1]
    flat = np.nan_to_num(np.asarray(values, np.float64).reshape(-1, LENGTHS[form]))
    if form == "rot6d":
        found = gram_schmidt(flat[:, :3], flat[:, 3:])
    elif form == "rot6d_rows":
        found = gram_schmidt(flat[:, :3], flat[:, 3:]).transpose(0, 2, 1)
    elif form == "rot6d_interleaved":
        found = gram_schmidt(flat[:, 0::2], flat[:, 1::2])
    elif form.startswith("quat"):
        quaternions = flat if form == "quat_xyzw" else np.roll(flat, -1, axis=-1)
        nothing = np.linalg.norm(quaternions, axis=1) < SMALLEST
        found = Rotation.from_quat(np.where(nothing[:, None], [0.0, 0.0, 0.0, 1.0], quaternions)).as_matrix()
    elif form == "rotvec":
        found = Rotation.from_rotvec(flat).as_matrix()
    else:
        found = Rotation.from_euler(_axes(form), flat).as_matrix()
    return np.asarray(found, np.float64).reshape(*shape, 3, 3)


def _axes(form: str) -> str:
    """Return scipy's word for the axes: small letters turn about the world's."""
    axes = form.split("_")[1]
    return axes.upper() if form.endswith("intrinsic") else axes


def gram_schmidt(first: Float64, second: Float64) -> Float64:
    """Return rotations (N, 3, 3) whose first two columns come from two vectors (N, 3)."""
    x = _unit(first, (1.0, 0.0, 0.0))
    y = second - np.sum(x * second, axis=1, keepdims=True) * x
    spare = np.where(np.abs(x[:, :1]) < 0.9, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    spare = spare - np.sum(x * spare, axis=1, keepdims=True) * x
    y = np.where(np.linalg.norm(y, axis=1, keepdims=True) < SMALLEST, spare, y)
    y = y / np.linalg.norm(y, axis=1, keepdims=True)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def _unit(vectors: Float64, otherwise: tuple[float, float, float]) -> Float64:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Float64 = np.where(length < SMALLEST, np.array([otherwise]), vectors / np.maximum(length, SMALLEST))
    return found


def angle(one: Float64, other: Float64) -> Float64:
    """Return the angles (...,) in degrees between rotations (..., 3, 3)."""
    trace = np.einsum("...ij,...ij->...", one, other)
    found: Float64 = np.degrees(np.arccos(np.clip((trace - 1.0) / 2.0, -1.0, 1.0)))
    return found
