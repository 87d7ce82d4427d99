"""The middle of robosuite's operational-space control as one compiled call, made of robosuite's own compiled functions.

Importing this imports robosuite. Nothing is summed in another order and no product is fused, so no bit differs; the
matrix-vector products that robosuite leaves to NumPy's BLAS stay there (`control.py`), because Numba calls SciPy's.
"""

from __future__ import annotations

import numba
from robosuite.utils.control_utils import nullspace_torques, opspace_matrices, orientation_error

from altbench.api import Float64


@numba.njit(cache=True)
def feedback(
    state: tuple[Float64, ...], goal: tuple[Float64, ...], gains: tuple[Float64, Float64], out: tuple[Float64, ...]
) -> None:
    """Fill `out`: force (3,), torque (3,), their operational-space inertias (3, 3) each, null-space torques (J,).

    `state`: mass matrix (J, J), Jacobian of the grip site (6, J) and its halves (3, J), site's position (3,), rotation
    (3, 3), velocity (3,), angular velocity (3,), joint positions and velocities (J,); `goal`: position (3,), rotation
    (3, 3), joint positions of the null space (J,); `gains`: stiffness and damping (6,). Metres, radians, world frame.
    """
    mass, jacobian, upper, lower, position, matrix, velocity, turning, joints, speeds = state
    goal_position, goal_matrix, goal_joints = goal
    kp, kd = gains
    force, torque, for_position, for_rotation, null_torques = out
    force[:] = (goal_position - position) * kp[:3] + (-velocity) * kd[:3]
    torque[:] = orientation_error(goal_matrix, matrix) * kp[3:] + (-turning) * kd[3:]
    _, inertia, rotational, null_space = opspace_matrices(mass, jacobian, upper, lower)
    for_position[:], for_rotation[:] = inertia, rotational
    null_torques[:] = nullspace_torques(mass, null_space, goal_joints, joints, speeds)
