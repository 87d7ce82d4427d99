"""A delta action's pose: the same goal, so the same motion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gymnasium
import numpy as np
import pytest

import altbench  # noqa: F401  (registers the tasks with Gymnasium)
from altbench.core.task import PoseTask

pytestmark = pytest.mark.sim


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Any, Any]]:
    """Lift taking delta actions, and Lift taking poses."""
    delta, pose = (
        gymnasium.make("altbench/Lift-v0", obs_type="state", control_mode=m) for m in ("ee_delta", "ee_pose")
    )
    with closing(delta), closing(pose):
        yield delta, pose


def test_delta_actions_and_their_poses_move_the_arm_alike(pair: tuple[Any, Any]) -> None:
    for env in pair:
        env.reset(seed=3)
    delta, pose = (env.unwrapped for env in pair)
    assert isinstance(pose, PoseTask)
    rng, begun = np.random.default_rng(0), delta.sim_state()
    for _ in range(10):
        action = rng.uniform(-0.7, 0.7, 7).astype(np.float32)
        as_pose = pose.as_pose(action)
        assert as_pose.shape == (10,)
        assert as_pose.dtype == np.float32
        delta.advance(action)
        pose.advance(as_pose)
        np.testing.assert_allclose(pose.sim_state(), delta.sim_state(), atol=1e-5)
    assert np.abs(delta.sim_state() - begun)[1:8].max() > 0.05


def test_beyond_the_bounds_is_clipped_and_no_motion_is_the_present_pose(pair: tuple[Any, Any]) -> None:
    pose = pair[1].unwrapped
    pair[1].reset(seed=3)
    np.testing.assert_array_equal(pose.as_pose(np.full(7, 3, np.float32)), pose.as_pose(np.ones(7, np.float32)))
    still = pose.as_pose(np.zeros(7, np.float32))
    np.testing.assert_allclose(still[:9], pose.observe()["agent_pos"][:9], atol=1e-6)
    moved = pose.as_pose(np.array([0, 0, 1, 0, 0, 0, 1], np.float32))
    np.testing.assert_allclose(moved[:3] - still[:3], [0, 0, 0.05], atol=1e-6)
    assert moved[9] == 1


def test_poses_within_reach_and_their_delta_actions_move_the_arm_alike(pair: tuple[Any, Any]) -> None:
    for env in pair:
        env.reset(seed=4)
    delta, pose = (env.unwrapped for env in pair)
    rng = np.random.default_rng(1)
    for _ in range(10):
        wanted = rng.uniform(-0.9, 0.9, 7).astype(np.float32)
        seen = pose.observe()["agent_pos"]
        target = pose.as_pose(wanted)
        found = pose.as_delta(target[None], seen[None])
        np.testing.assert_allclose(found[0], wanted, atol=1e-4)
        np.testing.assert_array_equal(delta.as_delta(target[None], seen[None]), found)
        pose.advance(target)
        delta.advance(found[0])
        np.testing.assert_allclose(pose.sim_state(), delta.sim_state(), atol=1e-5)


def test_a_target_out_of_reach_has_a_delta_beyond_the_bounds(pair: tuple[Any, Any]) -> None:
    pose = pair[1].unwrapped
    pair[1].reset(seed=4)
    seen = pose.observe()["agent_pos"]
    target = pose.as_pose(np.zeros(7, np.float32))
    target[:9] = 0
    target[:3] = seen[:3] + np.array([0.1, 0, 0], np.float32)  # two zero columns keep the orientation
    np.testing.assert_allclose(pose.as_delta(target[None], seen[None])[0], [2, 0, 0, 0, 0, 0, 0], atol=1e-4)
