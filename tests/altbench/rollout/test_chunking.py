"""Chunks of actions in, stacked observations out, and nothing rendered that nobody sees."""

from __future__ import annotations

from typing import Any

import fakes
import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import OrderEnforcing

from altbench.core.errors import ContractError
from altbench.rollout.chunking import ChunkWrapper, as_batch


class Counting(fakes.FakeTask):
    """Counts how often images are drawn."""

    drawn = 0

    def observe(self, pixels: bool = True) -> dict[str, Any]:
        self.drawn += pixels
        return super().observe(pixels)


def moves(count: int) -> np.ndarray:
    action = np.array([0.1, 0.05, 0.12, *fakes.ROT6D, -1.0], np.float32)
    return np.tile(action, (count, 1))


def test_a_chunk_returns_the_last_frames_and_draws_no_others() -> None:
    env = Counting()
    chunked = ChunkWrapper(env, obs_horizon=2, action_horizon=8)
    first, _ = chunked.reset(seed=3)
    assert first["pixels"]["wrist"].shape == (2, 16, 16, 3)
    assert (first["agent_pos"][0] == first["agent_pos"][1]).all()
    env.drawn = 0
    stacked, reward, terminated, truncated, info = chunked.step(moves(8))
    assert env.drawn == 2
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert info["executed"].shape == (8, 10) and info["agent_pos"].shape == (8, 11)
    assert (stacked["agent_pos"] == info["agent_pos"][-2:]).all()


def test_a_chunk_sees_what_single_steps_see() -> None:
    chunked, single = ChunkWrapper(fakes.FakeTask(), 3, 4), fakes.FakeTask()
    chunked.reset(seed=3)
    single.reset(seed=3)
    stacked = chunked.step(moves(4))[0]
    seen = [single.step(action)[0] for action in moves(4)][-3:]
    for camera in ("agentview", "wrist"):
        np.testing.assert_array_equal(stacked["pixels"][camera], [o["pixels"][camera] for o in seen])


def test_a_horizon_longer_than_the_chunk_keeps_older_frames() -> None:
    chunked = ChunkWrapper(fakes.FakeTask(), obs_horizon=4, action_horizon=2)
    before = chunked.reset(seed=3)[0]
    after = chunked.step(moves(2))[0]
    assert (after["agent_pos"][:2] == before["agent_pos"][2:]).all()
    assert (after["agent_pos"][2] != after["agent_pos"][1]).any()


def test_wrappers_of_gymnasiums_do_not_hide_the_task() -> None:
    bare, wrapped = ChunkWrapper(fakes.FakeTask(), 2, 4), ChunkWrapper(OrderEnforcing(fakes.FakeTask()), 2, 4)
    bare.reset(seed=5)
    wrapped.reset(seed=5)
    first, second = bare.step(moves(4)), wrapped.step(moves(4))
    np.testing.assert_array_equal(first[0]["pixels"]["wrist"], second[0]["pixels"]["wrist"])
    assert first[1:4] == second[1:4]


def test_an_environment_that_is_not_a_task_is_refused() -> None:
    class Theirs(gymnasium.Env[Any, Any]):
        """An environment of somebody else's: no `advance`, no `observe`."""

    with pytest.raises(ContractError, match=r"derived from altbench\.api\.TaskEnv, got Theirs; .*advance, observe"):
        ChunkWrapper(Theirs(), 2, 4)


def test_an_episode_that_ends_within_a_chunk_stops_there() -> None:
    env = fakes.FakeTask()
    chunked = ChunkWrapper(env, 2, 8)
    chunked.reset(seed=1)
    target = env.privileged()["target_pos"]
    chunk = np.tile(np.array([*target, *fakes.ROT6D, 1.0], np.float32), (40, 1))
    _, reward, terminated, _, info = chunked.step(chunk)
    assert terminated and reward == 1.0 and info["is_success"]
    assert len(info["executed"]) < 40


def test_images_are_filtered_with_their_step() -> None:
    steps: list[tuple[str, int]] = []

    def filtered(camera: str, step: int, image: Any) -> Any:
        steps.append((camera, step))
        return 255 - image

    plain, changed = ChunkWrapper(fakes.FakeTask(), 2, 4), ChunkWrapper(fakes.FakeTask(), 2, 4, image_filter=filtered)
    first, _ = plain.reset(seed=3)
    second, _ = changed.reset(seed=3)
    np.testing.assert_array_equal(second["pixels"]["wrist"], 255 - first["pixels"]["wrist"])
    changed.step(moves(4))
    assert sorted(set(steps)) == [(c, s) for c in ("agentview", "wrist") for s in (0, 3, 4)]


def test_a_batch_of_one_slot_has_a_leading_axis() -> None:
    stacked, _ = ChunkWrapper(fakes.FakeTask(), 2, 4).reset(seed=0)
    observation = as_batch(stacked)
    assert observation.batch_size == 1
    assert observation.pixels["agentview"].shape == (1, 2, 16, 16, 3)
