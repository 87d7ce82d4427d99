"""The middle of robosuite's operational-space control as two compiled calls.

They consist of robosuite's own compiled functions; importing this module imports
robosuite. No sum has another order and no product is fused, so that no bit differs. The
matrix-vector products that robosuite computes by NumPy's BLAS stay in `control.py`,
because Numba calls SciPy's BLAS.

Every array is an argument of its own: Numba takes longer to unpack tuples than to
compute with their contents.
"""

from __future__ import annotations

import numba
import numpy as np
from robosuite.utils.control_utils import nullspace_torques, opspace_matrices, orientation_error

from altbench.api import Float64


@numba.njit(cache=True)
def feedback(
    masses: Float64,
    jacobians: Float64,
    first: int,
    position: Float64,
    matrix: Float64,
    velocities: Float64,
    joints: Float64,
    speeds: Float64,
    goal: Float64,
    gains: Float64,
    jacobian: Float64,
    inertias: Float64,
    found: Float64,
) -> None:
    """Fill the last three arguments.

    `jacobian`: the arm's Jacobian (6, J). `inertias`: the operational-space inertias
    for position and rotation, each transposed, (2, 3, 3). `found`: force (3), torque
    (3) and null-space torques (J).

    Of the model: mass matrix (D, D), Jacobian of the grip site (6, D), and the first
    degree of freedom of the arm's J. Of the grip site: position (3,), rotation (3, 3),
    velocity (3) and angular velocity (3). Of the arm: joint positions and velocities
    (J,). `goal`: position (3), rotation (9), joint positions of the null space (J).
    `gains`: stiffness and damping (2, 6). Metres, radians, world frame.
    """
    count = len(joints)
    mass = np.empty((count, count)).T  # robosuite's is column-major, and BLAS sums those in another order
    mass[:] = masses[first : first + count, first : first + count]
    jacobian[:] = jacobians[:, first : first + count]
    kp, kd = gains[0], gains[1]
    found[:3] = (goal[:3] - position) * kp[:3] + (-velocities[:3]) * kd[:3]
    turn = orientation_error(goal[3:12].reshape(3, 3), matrix)
    found[3:6] = turn * kp[3:] + (-velocities[3:]) * kd[3:]
    _, inertia, rotational, null_space = opspace_matrices(mass, jacobian, jacobian[:3], jacobian[3:])
    inertias[0], inertias[1] = inertia.T, rotational.T
    found[6:] = nullspace_torques(mass, null_space, goal[12:], joints, speeds)


@numba.njit(cache=True)
def sum_within(torques: Float64, bias: Float64, null_torques: Float64, limits: Float64, total: Float64) -> None:
    """Fill `total` (J,) with the sum of the first three, within `limits` (2, J)."""
    for joint in range(len(torques)):
        torque = (torques[joint] + bias[joint]) + null_torques[joint]
        total[joint] = min(max(torque, limits[0, joint]), limits[1, joint])
