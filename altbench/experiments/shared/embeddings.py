"""Keys of frames: what a policy that looks things up makes of an image, for demonstrations and for episodes played again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from altbench.core import registry
from altbench.core.demonstration import Demonstration
from altbench.core.errors import AltbenchError, ContractError
from altbench.core.policy import Decision, Observation, Policy, Requirements
from altbench.core.types import Float32, Float64, Int64
from altbench.experiments.shared.arrays import read_arrays, write_arrays
from altbench.experiments.shared.experiment import Run
from altbench.rollout.episode import make_env, run_episode
from altbench.rollout.records import NOT_COUNTED
from altbench.runner.episodes import episode_plans
from altbench.sweeps.plan import Cell

BATCH = 64


@runtime_checkable
class Embeds(Protocol):
    """A policy with a key: `embed` makes float32 (B, D), of length 1, of the last frame of each of B slots."""

    def embed(self, observation: Observation) -> Float32:
        """The keys."""
        ...


def frame_keys(policy: Policy, demonstration: Demonstration) -> Float32:
    """Keys of all frames of a demonstration, float32 (T, D); ContractError where the policy has none."""
    if not isinstance(policy, Embeds):
        raise ContractError(f"{policy.name}: expected a policy with keys (a method `embed`), got one without")
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


def split(keys: Float32, episode: Int64) -> list[Float32]:
    """The keys (M, D) of each episode, of what `join` put together."""
    return np.split(keys, np.flatnonzero(np.diff(episode)) + 1)


@dataclass(frozen=True)
class EmbeddedEpisodes:
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


class _KeyRecorder(Policy[Any]):
    """Plays as `inner` does and keeps the keys that `embed` makes."""

    name = "key_recorder"

    def __init__(self, inner: Policy[Any], embed: Callable[[Observation], Float32]) -> None:
        super().__init__(inner.task, inner.config)
        self.inner, self.embed = inner, embed
        self.keys: list[Float32] = []

    @property
    def requirements(self) -> Requirements:
        return self.inner.requirements

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        self.keys = []
        self.inner.reset(slots, seeds)

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        self.keys.append(self.embed(observation)[0])
        return self.inner.act(observation, slots)


def embed_episodes(run: Run, cell: Cell, episodes: int) -> EmbeddedEpisodes | None:
    """Play those of a recorded cell's first `episodes` that count again; None where there are none, or no keys.

    AltbenchError where an episode ends otherwise than recorded.
    """
    inner, setting = run.policy(cell.checkpoint, cell.runtime), run.setting(cell.checkpoint)
    if inner is None or not isinstance(inner, Embeds):
        return None
    recorder = _KeyRecorder(inner, inner.embed)
    task = registry.task(cell.checkpoint.task)
    env = make_env(task, recorder.requirements, setting.sweep.image_size, setting.sweep.render_profile)
    parts: list[tuple[int, int, Any]] = []
    success: list[float] = []
    with closing(env):
        for plan, record in zip(episode_plans(setting, cell)[:episodes], run.records(cell), strict=False):
            if record.status in NOT_COUNTED:
                continue
            again = run_episode(env, recorder, plan, setting.sweep.decision_timeout_s)
            if (again.status, again.success, again.steps) != (record.status, record.success, record.steps):
                raise AltbenchError(f"{cell.name}, episode {record.episode}: played again it does not end as recorded")
            # The policy may have embedded one more image, and then failed to decide.
            keys = recorder.keys[: len(again.decisions)]
            parts += [(len(success), d.step, key) for d, key in zip(again.decisions, keys, strict=True)]
            success.append(float(again.success))
    if not parts:
        return None
    episode, step, embedded = zip(*parts, strict=True)
    return EmbeddedEpisodes(np.array(episode), np.array(step), np.stack(embedded), np.array(success))


def write_embedded(path: Path, found: EmbeddedEpisodes) -> None:
    """Plain arrays, whole or not at all."""
    write_arrays(path, **vars(found))


def read_embedded(path: Path) -> EmbeddedEpisodes | None:
    """What `write_embedded` wrote; None where there is nothing."""
    found = read_arrays(path)
    return None if found is None else EmbeddedEpisodes(**found)
