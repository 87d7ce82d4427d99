"""The scripted experts of Stack, Can, Square and Door: they succeed, in small steps, each in a seed's own style."""

from __future__ import annotations

from collections.abc import Iterator

import gymnasium
import numpy as np
import pytest

import altbench
from altbench.core import registry
from altbench.core.task import TaskEnv
from altbench.core.types import Float32

pytestmark = pytest.mark.sim
assert altbench.__version__  # importing it registers the tasks
LONGEST = {"Stack": 120, "Can": 150, "Square": 130, "Door": 100}  # control steps, with room above what was measured


@pytest.fixture(scope="module", params=LONGEST)
def env(request: pytest.FixtureRequest) -> Iterator[gymnasium.Env]:
    """Each task without images."""
    made = gymnasium.make(f"altbench/{request.param}-v0", obs_type="state")
    yield made.unwrapped
    made.close()


def _demonstrate(env: gymnasium.Env, seed: int, **options: object) -> tuple[Float32, Float32, bool]:
    """Actions (T, 10), grip site's poses before each (T, 9), success."""
    assert isinstance(env, TaskEnv)
    expert = registry.expert(env.info.name)
    env.reset(seed=seed, options=dict(options))
    expert.reset(env, seed)
    actions, poses, over, success = [], [], False, False
    while not over:
        poses.append(env.observe(pixels=False)["agent_pos"][:9])
        actions.append(expert.act(env))
        _, terminated, truncated, info = env.advance(actions[-1])
        over, success = terminated or truncated, info["is_success"]
    return np.stack(actions), np.stack(poses), success


@pytest.mark.parametrize("split", ["uniform", "interpolate", "extrapolate_side", "extrapolate_back"])
def test_succeeds_in_small_steps(split: str, env: gymnasium.Env) -> None:
    for episode in (0, 1):
        actions, poses, success = _demonstrate(env, 200 + episode, split=split, episode=episode)
        assert success, f"episode {episode}"
        assert len(actions) <= LONGEST[env.info.name]
        assert actions.dtype == np.float32
        assert np.linalg.norm(actions[:, :3] - poses[:, :3], axis=1).max() < 0.07
        np.testing.assert_array_equal(actions, np.clip(actions, env.action_space.low, env.action_space.high))


def test_same_seed_same_demonstration_and_seeds_have_their_style(env: gymnasium.Env) -> None:
    expert, first = registry.expert(env.info.name), []
    for seed in (0, 0, 1, 2):
        env.reset(seed=5)
        expert.reset(env, seed)
        for _ in range(6):
            env.advance(expert.act(env))
        first.append(env.sim_state())
    np.testing.assert_array_equal(first[0], first[1])
    assert len({state.tobytes() for state in first}) == 3


def test_begins_again_after_losing_its_hold(env: gymnasium.Env) -> None:
    expert = registry.expert(env.info.name)
    env.reset(seed=6)
    expert.reset(env, 6)
    expert._phase = "press" if env.info.name == "Door" else "carry"  # closed, with nothing in the hand
    assert expert.act(env)[-1] == -1.0
