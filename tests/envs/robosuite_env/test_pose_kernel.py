"""The compiled way through a rotation vector: SciPy's bits, and a refusal where SciPy would correct the matrix first."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from altbench.core.types import Float64
from altbench_envs.robosuite_env.actions import matrix_from_rot6d, unit_columns
from altbench_envs.robosuite_env.pose_kernel import through_rotation_vector

DRAWS = 2000
DOWN, NONE, HALF_TURN = [0.0, 1, 0, 1, 0, 0], [1.0, 0, 0, 0, 1, 0], [1.0, 0, 0, 0, -1, 0]


def _through_scipy(rot6d: Float64) -> Float64:
    matrix = matrix_from_rot6d(rot6d)
    assert matrix is not None
    back: Float64 = Rotation.from_rotvec(Rotation.from_matrix(matrix).as_rotvec()).as_matrix()
    return back


@pytest.mark.parametrize("centre", [DOWN, NONE, HALF_TURN, [0.0] * 6], ids=["down", "none", "half turn", "any"])
def test_the_bits_are_scipys(centre: list[float]) -> None:
    rng, goal, compared = np.random.default_rng(0), np.empty((3, 3)), 0
    for draw in range(DRAWS):
        rot6d = np.array(centre) + rng.normal(0, 10.0 ** -(draw % 12), 6)
        columns = unit_columns(rot6d)
        if columns is not None and through_rotation_vector(*columns, goal):
            assert goal.tobytes() == _through_scipy(rot6d).tobytes()
            compared += 1
    assert compared > DRAWS / 4


@pytest.mark.parametrize("exact", [DOWN, NONE, HALF_TURN, [0.0, 0, 1, 1, 0, 0], [-1.0, 0, 0, 0, -1, 0]])
def test_right_angles_have_scipys_bits_too(exact: list[float]) -> None:
    columns, goal = unit_columns(np.array(exact)), np.empty((3, 3))
    assert columns is not None
    assert through_rotation_vector(*columns, goal)
    assert goal.tobytes() == _through_scipy(np.array(exact)).tobytes()


@pytest.mark.parametrize("y", [[1e-10, 1.0, 0.0], [0.0, 1.001, 0.0], [np.nan, 1.0, 0.0]])
def test_columns_that_are_not_orthonormal_are_refused(y: list[float]) -> None:
    goal = np.full((3, 3), 7.0)
    assert not through_rotation_vector(np.array([1.0, 0.0, 0.0]), np.array(y), goal)
    np.testing.assert_array_equal(goal, 7.0)
