"""The contract of `altbench.api.ScenePerturbation` as code.

`altbench.checks.check_perturbation` calls it.
"""

from __future__ import annotations

import numpy as np

from altbench.checks.env import action_box, require
from altbench.core.perturbation import ScenePerturbation
from altbench.core.task import TaskEnv
from altbench.core.types import Float64, UInt8

EPISODES = 2
"""The number of episodes over which the mean distortion is taken."""
STEPS = 3
"""The control steps that must be the same before and after a perturbation."""

Images = dict[str, UInt8]


def distortion(perturbation: ScenePerturbation, task: TaskEnv) -> float:
    """Return the mean absolute change of all cameras' images over episodes.

    Each episode is checked to be repeatable and to leave no trace.
    """
    changes = []
    for episode in range(EPISODES):
        before, images = _episode(task, episode), _images(task)
        perturbed = _perturbed(perturbation, task, episode)
        changes.append(np.mean([np.abs(perturbed[c].astype(int) - images[c]).mean() for c in images]))
        _same(images, _images(task), f"perturbation {perturbation.name}: end must restore the scene; images differ")
        _same(
            perturbed,
            _perturbed(perturbation, task, episode),
            f"perturbation {perturbation.name}: same seed, other images",
        )
        after = _episode(task, episode)
        require(
            np.array_equal(before, after),
            f"perturbation {perturbation.name}: afterwards the same seed plays differently",
        )
    return float(np.mean(changes))


def _perturbed(perturbation: ScenePerturbation, task: TaskEnv, seed: int) -> Images:
    """Return the present images with `perturbation`, which is begun and ended.

    The simulator's state must stay the same.
    """
    state = task.sim_state().copy()
    try:
        perturbation.begin(task, np.random.default_rng(seed), task.info.cameras)
        images = _images(task)
    finally:
        perturbation.end(task)
    require(
        np.array_equal(state, task.sim_state()),
        f"perturbation {perturbation.name}: it must not change the simulator's state",
    )
    return images


def _episode(task: TaskEnv, seed: int) -> Float64:
    """Run a few steps of the episode `seed`, then reset it again.

    Returns the states in between, (STEPS, Ds).
    """
    space = action_box(task)
    task.reset(seed=seed)
    states = []
    for _ in range(STEPS):
        task.advance(np.asarray(space.low + space.high, np.float32) / 2)
        states.append(task.sim_state().copy())
    task.reset(seed=seed)
    return np.stack(states)


def _images(task: TaskEnv) -> Images:
    images: Images = task.observe()["pixels"]
    require(bool(images), "check_perturbation needs an environment with images, obs_type='pixels'")
    return images


def _same(expected: Images, came: Images, fault: str) -> None:
    for camera, image in expected.items():
        require(np.array_equal(image, came[camera]), f"{fault} ({camera})")
