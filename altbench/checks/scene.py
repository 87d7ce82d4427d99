"""The contract of `altbench.api.ScenePerturbation`, executable; called by `altbench.checks.check_perturbation`."""

from __future__ import annotations

import numpy as np

from altbench.checks.env import action_box, require
from altbench.core.perturbation import ScenePerturbation
from altbench.core.task import TaskEnv
from altbench.core.types import Float64, UInt8

EPISODES = 2  # over which the mean distortion is taken
STEPS = 3  # played after a perturbation to see whether anything of it is left

Images = dict[str, UInt8]


def distortion(perturbation: ScenePerturbation, env: TaskEnv) -> float:
    """Mean absolute change of all cameras' images over episodes, each checked to be repeatable and to leave no trace."""
    changes = []
    for episode in range(EPISODES):
        before, images = _episode(env, episode), _images(env)
        perturbed = _perturbed(perturbation, env, episode)
        changes.append(np.mean([np.abs(perturbed[c].astype(int) - images[c]).mean() for c in images]))
        _same(images, _images(env), f"perturbation {perturbation.name}: end must restore the scene; images differ")
        _same(
            perturbed,
            _perturbed(perturbation, env, episode),
            f"perturbation {perturbation.name}: same seed, other images",
        )
        after = _episode(env, episode)
        require(
            np.array_equal(before, after),
            f"perturbation {perturbation.name}: afterwards the same seed plays differently",
        )
    return float(np.mean(changes))


def _perturbed(perturbation: ScenePerturbation, env: TaskEnv, seed: int) -> Images:
    """The present images with `perturbation`, which is begun and ended; the simulator's state must stay."""
    state = env.sim_state().copy()
    try:
        perturbation.begin(env, np.random.default_rng(seed), env.info.cameras)
        images = _images(env)
    finally:
        perturbation.end(env)
    require(
        np.array_equal(state, env.sim_state()),
        f"perturbation {perturbation.name}: it must not change the simulator's state",
    )
    return images


def _episode(env: TaskEnv, seed: int) -> Float64:
    """A few steps of the episode `seed`, then its beginning again: the states passed through, (STEPS, Ds)."""
    space = action_box(env)
    env.reset(seed=seed)
    states = []
    for _ in range(STEPS):
        env.advance(np.asarray(space.low + space.high, np.float32) / 2)
        states.append(env.sim_state().copy())
    env.reset(seed=seed)
    return np.stack(states)


def _images(env: TaskEnv) -> Images:
    images: Images = env.observe()["pixels"]
    require(bool(images), "check_perturbation needs an environment with images, obs_type='pixels'")
    return images


def _same(expected: Images, came: Images, fault: str) -> None:
    for camera, image in expected.items():
        require(np.array_equal(image, came[camera]), f"{fault} ({camera})")
