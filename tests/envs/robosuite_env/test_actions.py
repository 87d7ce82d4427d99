"""What a pose action means: rot6d, the grip site's target, clipping."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from altbench.core.types import Float32, Float64
from altbench_envs.robosuite_env.actions import matrix_from_rot6d, pose_action, rot6d_from_matrix
from altbench_envs.robosuite_env.adapter import RobosuiteEnv

unit = st.floats(-1, 1)


@given(st.tuples(unit, unit, unit, unit).filter(lambda q: np.linalg.norm(q) > 1e-3))
def test_rot6d_round_trip(quaternion: tuple[float, ...]) -> None:
    matrix = Rotation.from_quat(quaternion).as_matrix()
    back = matrix_from_rot6d(rot6d_from_matrix(matrix))
    assert back is not None
    np.testing.assert_allclose(back, matrix, atol=1e-9)


@given(st.lists(st.floats(-10, 10), min_size=6, max_size=6))
def test_any_six_numbers_name_a_rotation_or_none(rot6d: list[float]) -> None:
    matrix = matrix_from_rot6d(np.array(rot6d))
    if matrix is not None:
        np.testing.assert_allclose(matrix.T @ matrix, np.eye(3), atol=1e-6)
        assert np.linalg.det(matrix) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("rot6d", [np.zeros(6), np.array([1.0, 0, 0, 0, 0, 0]), np.array([1.0, 2, 3, 2, 4, 6])])
def test_degenerate_columns_name_no_rotation(rot6d: Float64) -> None:
    assert matrix_from_rot6d(rot6d) is None


def _after(env: RobosuiteEnv, action: Float32, steps: int = 25) -> Float32:
    """`agent_pos` after holding one action from seed 0's start."""
    env.reset(seed=0)
    for _ in range(steps):
        env.advance(action)
    return np.asarray(env.observe(pixels=False)["agent_pos"])


@pytest.mark.sim
def test_the_grip_site_goes_where_the_action_says(state_env: RobosuiteEnv) -> None:
    goal = np.array([0.05, -0.1, 0.95])
    matrix = (Rotation.from_euler("z", 0.4) * Rotation.from_matrix([[0, 1, 0], [1, 0, 0], [0, 0, -1]])).as_matrix()
    reached = _after(state_env, pose_action(goal, matrix, -1.0), steps=50)
    np.testing.assert_allclose(reached[:3], goal, atol=0.02)
    np.testing.assert_allclose(reached[3:9], rot6d_from_matrix(matrix), atol=0.05)
    assert reached[9] > 0.035  # the gripper has opened
    closed = _after(state_env, pose_action(goal, matrix, 1.0), steps=15)
    assert closed[9] < 0.005


@pytest.mark.sim
def test_zero_columns_keep_the_present_orientation(state_env: RobosuiteEnv) -> None:
    state_env.reset(seed=0)
    start = state_env.observe()["agent_pos"]
    action = np.concatenate([start[:1] + 0.05, start[1:3], np.zeros(6), [-1.0]]).astype(np.float32)
    moved = _after(state_env, action)
    np.testing.assert_allclose(moved[3:9], start[3:9], atol=0.05)
    assert moved[0] - start[0] > 0.03


@pytest.mark.sim
def test_values_outside_the_bounds_are_clipped(state_env: RobosuiteEnv) -> None:
    space = state_env.action_space
    np.testing.assert_array_equal(_after(state_env, space.high + 5, 5), _after(state_env, space.high, 5))


@pytest.mark.sim
def test_delta_actions_move_the_grip_site(delta_env: RobosuiteEnv) -> None:
    delta_env.reset(seed=0)
    start = delta_env.observe()["agent_pos"]
    moved = _after(delta_env, np.array([0, 1, 0, 0, 0, 0, -1], np.float32), 10)
    assert moved[1] - start[1] > 0.05
