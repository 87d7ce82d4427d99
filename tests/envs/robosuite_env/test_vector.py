"""Several environments in processes of their own play the episodes that each would play alone."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

import altbench

pytestmark = pytest.mark.sim
ENV_ID = "altbench/Lift-v0"
SIZE = (24, 24)
SEEDS = [5, 6]
assert altbench.__version__  # importing it registers the ids


def _alone(seed: int, actions: np.ndarray[Any, np.dtype[np.float32]]) -> dict[str, Any]:
    env = gymnasium.make(ENV_ID, image_size=SIZE)
    env.reset(seed=seed)
    for action in actions:
        observation, *_ = env.step(action)
    env.close()
    return observation


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # BLAS's idle threads, 3.12
@pytest.mark.slow
def test_asynchronous_environments_play_the_same_episodes() -> None:
    envs = gymnasium.make_vec(ENV_ID, num_envs=2, vectorization_mode="async", image_size=SIZE)
    try:
        first, _ = envs.reset(seed=SEEDS)
        rng = np.random.default_rng(0)
        # About the starting pose, the grippers open; first[...] is shared memory's copy, (2, Dp).
        pose = np.concatenate([first["agent_pos"][:, :9], [[-1.0]] * 2], axis=1)
        actions = (pose + rng.normal(0, 0.02, (3, *pose.shape))).astype(np.float32)
        for action in actions:
            together, *_ = envs.step(action)
    finally:
        envs.close()
    for number, seed in enumerate(SEEDS):
        alone = _alone(seed, actions[:, number])
        np.testing.assert_array_equal(together["agent_pos"][number], alone["agent_pos"])
        for camera, image in alone["pixels"].items():
            np.testing.assert_array_equal(together["pixels"][camera][number], image)
