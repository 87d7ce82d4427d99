"""SciPy's way from a rotation matrix to a rotation vector and back, compiled.

A pose action reaches robosuite's controller as a rotation vector, from which the
controller makes a matrix again. Two `scipy.spatial.transform.Rotation` objects cost
more than everything else that a control step computes once. The functions here perform
the same operations in the same order (scipy/spatial/transform: `from_matrix`,
`as_rotvec`, `from_rotvec`, `as_matrix`), and so give the same bits.
"""

from __future__ import annotations

from math import atan2, cos, sin, sqrt

import numba

from altbench.api import Float64

SMALL_ANGLE = 1e-3  # rad: below it SciPy takes the first terms of a series
ORTHONORMAL = 1e-13  # SciPy replaces a matrix that is 1e-12 from orthogonal by the nearest rotation; we leave it those


@numba.njit(cache=True)
def through_rotation_vector(x: Float64, y: Float64, goal: Float64) -> bool:
    """Fill `goal` (3, 3) with a rotation as it comes back from a rotation vector.

    `x`, `y` (3,): the first two columns of the rotation. Returns False, with nothing
    filled, if the columns are so far from orthonormal that SciPy would correct them.
    """
    z0, z1, z2 = x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]
    rows = (x[0], y[0], z0), (x[1], y[1], z1), (x[2], y[2], z2)
    if not _orthonormal(rows):
        return False
    return _fill(_rotation_vector(_quaternion(rows)), goal)


@numba.njit(cache=True)
def _orthonormal(rows: tuple[tuple[float, ...], ...]) -> bool:
    (a0, a1, a2), (b0, b1, b2), (c0, c1, c2) = rows
    lengths = a0 * a0 + a1 * a1 + a2 * a2, b0 * b0 + b1 * b1 + b2 * b2, c0 * c0 + c1 * c1 + c2 * c2
    products = a0 * b0 + a1 * b1 + a2 * b2, a0 * c0 + a1 * c1 + a2 * c2, b0 * c0 + b1 * c1 + b2 * c2
    off = 0.0
    for length, product in zip(lengths, products):  # noqa: B905  (Numba knows no strict)
        off += abs(length - 1) + abs(product)
    return off < ORTHONORMAL  # NaN is not


@numba.njit(cache=True)
def _quaternion(rows: tuple[tuple[float, ...], ...]) -> tuple[float, float, float, float]:
    """Return xyzw, normalised, from its largest component (Shepperd 1978)."""
    (a0, a1, a2), (b0, b1, b2), (c0, c1, c2) = rows
    trace = a0 + b1 + c2
    if trace > a0 and trace > b1 and trace > c2:
        x, y, z, w = c1 - b2, a2 - c0, b0 - a1, 1 + trace
    elif a0 >= b1 and a0 >= c2:
        x, y, z, w = 1 - trace + 2 * a0, b0 + a1, c0 + a2, c1 - b2
    elif b1 >= c2:
        y, z, x, w = 1 - trace + 2 * b1, c1 + b2, a1 + b0, a2 - c0
    else:
        z, x, y, w = 1 - trace + 2 * c2, a2 + c0, b2 + c1, b0 - a1
    norm = sqrt(x * x + y * y + z * z + w * w)
    return x / norm, y / norm, z / norm, w / norm


@numba.njit(cache=True)
def _rotation_vector(quaternion: tuple[float, float, float, float]) -> tuple[float, float, float]:
    x, y, z, w = quaternion
    if w < 0 or (w == 0 and (x < 0 or (x == 0 and (y < 0 or (y == 0 and z < 0))))):
        x, y, z, w = -x, -y, -z, -w
    angle = 2 * atan2(sqrt(x * x + y * y + z * z), w)
    if angle <= SMALL_ANGLE:
        square = angle * angle
        scale = 2 + square / 12 + 7 * square * square / 2880
    else:
        scale = angle / sin(angle / 2)
    return scale * x, scale * y, scale * z


@numba.njit(cache=True)
def _fill(vector: tuple[float, float, float], matrix: Float64) -> bool:
    """Fill `matrix` (3, 3) with the rotation by a rotation vector."""
    a, b, c = vector
    angle = sqrt(a * a + b * b + c * c)
    if angle <= SMALL_ANGLE:
        square = angle * angle
        scale = 0.5 - square / 48 + square * square / 3840
    else:
        scale = sin(angle / 2) / angle
    x, y, z, w = scale * a, scale * b, scale * c, cos(angle / 2)
    x2, y2, z2, w2 = x * x, y * y, z * z, w * w
    matrix[0, 0], matrix[1, 1], matrix[2, 2] = x2 - y2 - z2 + w2, -x2 + y2 - z2 + w2, -x2 - y2 + z2 + w2
    matrix[1, 0], matrix[0, 1] = 2 * (x * y + z * w), 2 * (x * y - z * w)
    matrix[2, 0], matrix[0, 2] = 2 * (x * z - y * w), 2 * (x * z + y * w)
    matrix[2, 1], matrix[1, 2] = 2 * (y * z + x * w), 2 * (y * z - x * w)
    return True
