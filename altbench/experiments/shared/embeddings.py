"""Keys of frames: what a policy that looks things up makes of an image, for demonstrations and for episodes played again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from altbench.core import registry
from altbench.core.demonstration import Demonstration
from altbench.core.errors import AltbenchError
from altbench.core.policy import Decision, Observation, Policy, Requirements
from altbench.core.types import Float32, Float64, Int64
from altbench.experiments.shared.experiment import ExperimentRun
from altbench.rollout.episode import make_env, run_episode
from altbench.rollout.records import NOT_COUNTED
from altbench.runner.episodes import episode_plans
from altbench.sweeps.plan import Cell
from altbench.system.files import replacing

BATCH = 64


@runtime_checkable
class Embeds(Protocol):
    """A policy with a key: `embed` makes float32 (B, D), of length 1, of the last frame of each of B slots."""

    def embed(self, observation: Observation) -> Float32:
        """The keys."""
        ...


def frame_keys(policy: Policy, demonstration: Demonstration) -> Float32:
    """Keys of all frames of a demonstration, float32 (T, D); TypeError where the policy has none."""
    if not isinstance(policy, Embeds):
        raise TypeError(f"{policy.name} has no keys (no method embed)")
    cameras = policy.requirements.cameras
    parts = []
    for begin in range(0, len(demonstration), BATCH):
        chosen = slice(begin, begin + BATCH)
        pixels = {camera: demonstration.pixels[camera][chosen][:, None] for camera in cameras}
        parts.append(policy.embed(Observation(pixels, demonstration.agent_pos[chosen][:, None])))
    return np.concatenate(parts)


def join(keys: Sequence[Float32]) -> tuple[Float32, Int64, Int64]:
    """Keys of several episodes one below the other (M, D), with the number of episode and frame of each row (M,)."""
    episode = np.concatenate([np.full(len(k), i) for i, k in enumerate(keys)])
    frame = np.concatenate([np.arange(len(k)) for k in keys])
    return np.concatenate(keys), episode, frame


@dataclass(frozen=True)
class Watched:
    """Decisions of a cell's first episodes that count: `episode` (from 0, among those) and control `step` (M,), `keys`
    (M, D); `success` (episodes,)."""

    episode: Int64
    step: Int64
    keys: Float32
    success: Float64

    def highest(self, scores: Float64) -> Float64:
        """Each episode's highest of the decisions' `scores` (M,)."""
        return np.array([scores[self.episode == e].max() for e in range(len(self.success))])

    def first(self, scores: Float64) -> Float64:
        """Each episode's score at its first decision, before anything has moved."""
        return np.array([scores[self.episode == e][0] for e in range(len(self.success))])


class _Watcher(Policy):
    """Plays as `inner` does and keeps the keys."""

    name = "watcher"

    def __init__(self, inner: Policy) -> None:
        super().__init__(inner.task, inner.config)
        self.inner, self.keys = inner, []  # type: Policy, list[Float32]

    @property
    def requirements(self) -> Requirements:
        return self.inner.requirements

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        self.keys = []
        self.inner.reset(slots, seeds)

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        assert isinstance(self.inner, Embeds)
        self.keys.append(self.inner.embed(observation)[0])
        return self.inner.act(observation, slots)


def watch(run: ExperimentRun, cell: Cell, episodes: int) -> Watched | None:
    """Play those of a recorded cell's first `episodes` that count again; None where there are none, or no keys.

    AltbenchError where an episode ends otherwise than recorded.
    """
    inner, planned = run.policy(cell.checkpoint, cell.runtime), run.run_of(cell.checkpoint)
    if inner is None or not hasattr(inner, "embed"):
        return None
    watcher = _Watcher(inner)
    task = registry.task(cell.checkpoint.task)
    env = make_env(task, watcher.requirements, planned.sweep.image_size, planned.sweep.render_profile)
    parts: list[tuple[int, int, Any]] = []
    success: list[float] = []
    with closing(env):
        for plan, record in zip(episode_plans(planned, cell)[:episodes], run.records(cell), strict=False):
            if record.status in NOT_COUNTED:
                continue
            again = run_episode(env, watcher, plan, planned.sweep.decision_timeout_s)
            if (again.status, again.success, again.steps) != (record.status, record.success, record.steps):
                raise AltbenchError(f"{cell.name}, episode {record.episode}: played again it does not end as recorded")
            looked = watcher.keys[: len(again.decisions)]  # it may have looked once more, and failed
            parts += [(len(success), d.step, key) for d, key in zip(again.decisions, looked, strict=True)]
            success.append(float(again.success))
    if not parts:
        return None
    number, step, keys = zip(*parts, strict=True)
    return Watched(np.array(number), np.array(step), np.stack(keys), np.array(success))


def write_watched(path: Path, found: Watched) -> None:
    """Plain arrays, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **vars(found))


def read_watched(path: Path) -> Watched | None:
    """What `write_watched` wrote; None where there is nothing."""
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as found:
        return Watched(**{name: found[name] for name in ("episode", "step", "keys", "success")})
