"""Lift's scripted expert: it succeeds, in small steps, the same way for the same seed."""

from __future__ import annotations

from collections.abc import Iterator

import gymnasium
import numpy as np
import pytest

import altbench
from altbench.core import registry
from altbench.core.task import TaskEnv
from altbench.core.types import Float32
from altbench_demos.experts.lift import LiftExpert

pytestmark = pytest.mark.sim
assert altbench.__version__  # importing it registers altbench/Lift-v0


@pytest.fixture(scope="module")
def env() -> Iterator[gymnasium.Env]:
    """Lift without images."""
    made = gymnasium.make("altbench/Lift-v0", obs_type="state")
    yield made.unwrapped
    made.close()


def _demonstrate(env: gymnasium.Env, seed: int, **options: object) -> tuple[Float32, Float32, bool]:
    """Actions (T, 10), grip site's poses before each (T, 9), success."""
    assert isinstance(env, TaskEnv)
    expert = LiftExpert()
    env.reset(seed=seed, options=dict(options))
    expert.reset(env, seed)
    actions, poses, over, success = [], [], False, False
    while not over:
        poses.append(env.observe(pixels=False)["agent_pos"][:9])
        actions.append(expert.act(env))
        _, terminated, truncated, info = env.advance(actions[-1])
        over, success = terminated or truncated, info["is_success"]
    return np.stack(actions), np.stack(poses), success


@pytest.mark.parametrize(
    ("split", "episodes"),
    [("uniform", range(8)), ("grid", (0, 4, 29)), ("extrapolate_back", (0,)), ("extrapolate_side", (0,))],
)
def test_succeeds(split: str, episodes: range, env: gymnasium.Env) -> None:
    lengths = []
    for episode in episodes:
        actions, _, success = _demonstrate(env, 100 + episode, split=split, episode=episode)
        assert success, f"episode {episode}"
        lengths.append(len(actions))
    assert min(lengths) >= 25
    assert max(lengths) <= 60


def test_actions_stay_near_the_present_pose_and_within_bounds(env: gymnasium.Env) -> None:
    actions, poses, _ = _demonstrate(env, 3)
    assert actions.dtype == np.float32
    assert np.linalg.norm(actions[:, :3] - poses[:, :3], axis=1).max() < 0.05
    np.testing.assert_array_equal(actions, np.clip(actions, env.action_space.low, env.action_space.high))
    turns = np.einsum("ti,ti->t", actions[:, 3:6], poses[:, 3:6])
    assert np.arccos(np.clip(turns, -1, 1)).max() < 0.21


def test_never_stands_still(env: gymnasium.Env) -> None:
    _, poses, _ = _demonstrate(env, 4)
    moved = np.linalg.norm(np.diff(poses[:, :3], axis=0), axis=1)
    assert np.convolve(moved < 5e-4, np.ones(8), mode="valid").max() < 8


def test_same_seed_same_demonstration_and_seeds_have_their_style(env: gymnasium.Env) -> None:
    first, again = (_demonstrate(env, 5)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    expert, speeds = LiftExpert(), set()
    for seed in range(3):
        env.reset(seed=5)
        expert.reset(env, seed)
        speeds.add(float(np.linalg.norm(expert.act(env)[:3] - env.privileged()["gripper_position"])))
    assert len(speeds) == 3


def test_lets_go_and_tries_again_when_the_cube_slips(env: gymnasium.Env) -> None:
    expert = LiftExpert()
    env.reset(seed=6)
    expert.reset(env, 6)
    expert._phase = "lift"  # closed and rising, the cube left on the table
    assert expert.act(env)[-1] == -1.0


def test_is_registered() -> None:
    assert isinstance(registry.expert("Lift"), LiftExpert)
