"""Fake demonstrations of random smooth images, and small configurations, for the tests of policies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from altbench.core import registry
from altbench.core.demonstration import Demonstration
from altbench.core.policy import FitContext, Observation, Trainable
from altbench.core.task import InitialState, TaskInfo
from altbench.core.types import AGENT_POS_DIM, POSE_ACTION_DIM

SIZE = 40
CAMERAS = ("agentview", "wrist")


@pytest.fixture(autouse=True)
def one_thread_and_seed() -> None:
    """Bitwise comparisons hold for one number of threads (one is fastest at these sizes); and networks made without a
    seed of their own are the same whatever ran before."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def task() -> TaskInfo:
    """A task that no simulator knows."""
    return TaskInfo("Fake", version=1, horizon=60, grid_size=4, pose_names=("x", "y"))


@pytest.fixture(scope="session")
def demonstrations() -> list[Demonstration]:
    """Four demonstrations of different lengths, numbered 3, 5, 7 and 9."""
    return [make_demonstration(index, length) for index, length in ((3, 21), (5, 17), (7, 24), (9, 19))]


@pytest.fixture(scope="session")
def observe() -> Callable[..., Observation]:
    """`observe(demonstration, frames, horizon)`: the observations at `frames`, one slot each."""
    return observation_at


def make_demonstration(index: int, length: int) -> Demonstration:
    """Smooth images that drift with time, a moving pose and a gripper that closes half-way."""
    rng = np.random.default_rng(index)
    pixels = {camera: _film(rng, length) for camera in CAMERAS}
    walk = np.cumsum(rng.normal(0, 0.01, (length, AGENT_POS_DIM)), axis=0).astype(np.float32)
    actions = np.concatenate([walk[:, : POSE_ACTION_DIM - 1] + 0.01, np.full((length, 1), -1, np.float32)], axis=1)
    actions[length // 2 :, -1] = 1
    start = InitialState(np.zeros(4), np.zeros(2))
    states = np.zeros((length, 4))
    return Demonstration(index, pixels, walk, actions.astype(np.float32), states, start)


def observation_at(demonstration: Demonstration, frames: Sequence[int], horizon: int) -> Observation:
    """What a policy sees at each of `frames` of `demonstration`, the first frame repeated before the start."""
    rows = np.maximum(np.asarray(frames)[:, None] + np.arange(1 - horizon, 1), 0)
    return Observation({c: p[rows] for c, p in demonstration.pixels.items()}, demonstration.agent_pos[rows])


def _film(rng: np.random.Generator, length: int) -> NDArray[np.uint8]:
    """(T, H, W, 3): a sum of plane waves whose phases drift."""
    axis = np.linspace(0, 2 * np.pi, SIZE)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    frequency = rng.uniform(-2, 2, (4, 3, 2))
    phase = rng.uniform(0, 2 * np.pi, (4, 3)) + 0.15 * np.arange(length)[:, None, None]
    planes = frequency[..., :1, None] * y + frequency[..., 1:, None] * x
    waves = np.sin(planes + phase[..., None, None]).sum(axis=1)
    return np.clip(127.5 + 40 * waves, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


TINY_VISION = {"width": 0.25, "view_features": 16, "batch_size": 8, "train_steps": 3, "precision": "fp32"}
TINY: dict[str, dict[str, Any]] = {
    "act": {
        **{k: v for k, v in TINY_VISION.items() if k != "view_features"},
        "pose": True,
        "pred_horizon": 16,
        "hidden": 32,
        "heads": 2,
        "feedforward": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "dropout": 0.1,
    },
    "alt": {**TINY_VISION, "hidden": 32, "embedding": 16},
    "alt_plus": {**TINY_VISION, "view_features": 0, "hidden": (32,)},
    "bc": {**TINY_VISION, "hidden": (32,)},
    "bc_gmm": {**TINY_VISION, "hidden": (32,)},
    "bc_rnn_gmm": {**TINY_VISION, "rnn_hidden": 16, "sequence": 4},
    "blind": {},
    "diffusion": {**TINY_VISION, "widths": (16, 32), "step_features": 16, "inference_steps": 4},
    "diffusion:transformer": {
        **TINY_VISION,
        "backbone": "transformer",
        "hidden": 16,
        "heads": 2,
        "layers": 1,
        "inference_steps": 4,
    },
    "fisher": {"cameras": CAMERAS},
    "kdtree": {"side": 6},
    "open_loop": {},
    "random": {},
    "regressor": {**TINY_VISION, "view_features": 0, "hidden": (32,)},
    "vinn": {**TINY_VISION, "hidden": 32, "embedding": 16},
}


@pytest.fixture(scope="session")
def make_policy() -> Callable[..., Any]:
    """`make_policy(name, **settings)`: a policy of the fake task with a tiny network; `name` is a key of TINY."""

    def make(name: str, **settings: Any) -> Any:
        task = TaskInfo("Fake", version=1, horizon=60, grid_size=4, pose_names=("x", "y"))
        kind = registry.policy(name.partition(":")[0])
        return kind(task, kind.config_type.parse({**TINY[name], **settings}, name))

    return make


@pytest.fixture(scope="session")
def fit_policy(make_policy: Callable[..., Any], demonstrations: list[Demonstration]) -> Callable[..., Any]:
    """`fit_policy(name, seed=0, **settings)`: the same, fitted to the demonstrations."""

    def fit(name: str, seed: int = 0, **settings: Any) -> Any:
        torch.set_num_threads(1)
        policy = make_policy(name, **settings)
        if isinstance(policy, Trainable):
            policy.fit(demonstrations, FitContext(seed))
        return policy

    return fit
