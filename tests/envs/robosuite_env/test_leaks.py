"""Resetting, making and closing environments leaves no memory, file, GL context or process behind."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import psutil
import pytest

from altbench_envs.robosuite_env import rendering
from altbench_envs.robosuite_env.adapter import RobosuiteEnv
from altbench_envs.robosuite_env.rendering import Renderer
from altbench_envs.tasks.lift import LiftScene

pytestmark = pytest.mark.sim
RESETS = 100
GROWTH = 4 * 2**20
"""Bytes that 100 episodes may add: the allocator's own; a leaked 84×84 image each would be 2 MB, a model each gigabytes."""


def _resident() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_memory_does_not_grow_over_resets(state_env: RobosuiteEnv) -> None:
    def play(seeds: range) -> None:
        for seed in seeds:
            state_env.reset(seed=seed)
            state_env.step(state_env.action_space.high)

    play(range(20))  # what is allocated once
    before = _resident()
    play(range(20, 20 + RESETS))
    assert _resident() - before < GROWTH


@pytest.mark.slow
def test_opening_and_closing_leaves_no_gl_context(pixels_env: RobosuiteEnv) -> None:
    model, data = pixels_env._simulator.model, pixels_env._simulator.data
    pixels_env.reset(seed=0)
    camera = model.camera("agentview").id

    def cycle() -> np.ndarray:  # type: ignore[type-arg]
        renderer = Renderer(model, "fast", 24, 24)
        image = renderer.render(data, camera, 24, 24)
        renderer.close()
        return image

    expected = cycle()
    gc.collect()
    files, contexts = _open_files(), len(rendering._OPEN)
    for _ in range(4):
        np.testing.assert_array_equal(cycle(), expected)
    gc.collect()
    assert len(rendering._OPEN) == contexts
    assert _open_files() == files


@pytest.mark.slow
def test_making_and_closing_leaves_no_file_or_process() -> None:
    def cycle() -> None:
        env = RobosuiteEnv(LiftScene(), image_size=(24, 24))
        env.reset(seed=0)
        env.close()
        env.close()  # twice is as good as once

    cycle()
    gc.collect()
    files, children = _open_files(), len(psutil.Process().children(recursive=True))
    contexts = len(rendering._OPEN)
    for _ in range(2):
        cycle()
    gc.collect()
    assert _open_files() <= files
    assert len(psutil.Process().children(recursive=True)) == children
    assert len(rendering._OPEN) == contexts
