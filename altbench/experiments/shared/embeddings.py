"""Keys of frames: a lookup policy's embeddings of demonstrations and replayed episodes."""

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
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.rollout.episode import make_env, run_episode
from altbench.rollout.records import NOT_COUNTED
from altbench.runner.episodes import episode_plans
from altbench.sweeps.plan import Cell

BATCH = 64
"""Frames embedded at a time; it limits memory and changes no key."""


@runtime_checkable
class Embeds(Protocol):
    """A policy that has keys."""

    def embed(self, observation: Observation) -> Float32:
        """Return keys of each slot's last frame, float32 (B, D), of length 1."""
        ...


def frame_keys(policy: Policy, demonstration: Demonstration) -> Float32:
    """Return the keys of all frames of a demonstration, float32 (T, D).

    Raise ContractError if the policy has no keys.
    """
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
    """Stack the keys of several episodes (M, D).

    Also return the number of the episode and of the frame of each row, (M,) each.
    """
    episode = np.concatenate([np.full(len(k), i) for i, k in enumerate(keys)])
    frame = np.concatenate([np.arange(len(k)) for k in keys])
    return np.concatenate(keys), episode, frame


def split(keys: Float32, episode: Int64) -> list[Float32]:
    """Return the keys of each episode again, from what `join` stacked."""
    return np.split(keys, np.flatnonzero(np.diff(episode)) + 1)


@dataclass(frozen=True)
class EmbeddedEpisodes:
    """The keys of the decisions of a cell's first counted episodes.

    For each decision: `episode`, its number from 0 among those (M,); control `step`
    (M,); `keys` (M, D). For each episode: `success` (episodes,).
    """

    episode: Int64
    step: Int64
    keys: Float32
    success: Float64

    def highest(self, scores: Float64) -> Float64:
        """Return each episode's highest score, from the decisions' `scores` (M,)."""
        return np.array([scores[self.episode == e].max() for e in range(len(self.success))])

    def first(self, scores: Float64) -> Float64:
        """Return each episode's score at its first decision, before anything has moved."""
        return np.array([scores[self.episode == e][0] for e in range(len(self.success))])


class _KeyRecorder(Policy[Any]):
    """A policy that acts as `inner` does and keeps the keys that `embed` makes."""

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


def embed_episodes(run: ExperimentRun, cell: Cell, episodes: int) -> EmbeddedEpisodes | None:
    """Replay a recorded cell's first `episodes` that count, and return their keys.

    None if there are no such episodes, or if the policy has no keys. Raise
    AltbenchError if an episode does not end as recorded.
    """
    inner, planned = run.policy(cell.checkpoint, cell.runtime), run.run_of(cell.checkpoint)
    if inner is None or not isinstance(inner, Embeds):
        return None
    recorder = _KeyRecorder(inner, inner.embed)
    task = registry.task(cell.checkpoint.task)
    sweep = planned.sweep
    env = make_env(task, recorder.requirements, sweep.image_size, sweep.render_profile, sweep.horizon_of(task.name))
    parts: list[tuple[int, int, Any]] = []
    success: list[float] = []
    with closing(env):
        for plan, record in zip(episode_plans(planned, cell)[:episodes], run.records(cell), strict=False):
            if record.status in NOT_COUNTED:
                continue
            again = run_episode(env, recorder, plan, planned.sweep.decision_timeout_s)
            # Keys of another motion do not belong to the recorded success.
            if (again.status, again.success, again.steps) != (record.status, record.success, record.steps):
                raise AltbenchError(f"{cell.name}, episode {record.episode}: replayed, it does not end as recorded")
            # The policy may have embedded one more image, and then failed to decide.
            keys = recorder.keys[: len(again.decisions)]
            parts += [(len(success), d.step, key) for d, key in zip(again.decisions, keys, strict=True)]
            success.append(float(again.success))
    if not parts:
        return None
    episode, step, embedded = zip(*parts, strict=True)
    return EmbeddedEpisodes(np.array(episode), np.array(step), np.stack(embedded), np.array(success))


def write_embedded(path: Path, found: EmbeddedEpisodes) -> None:
    """Write embedded episodes as plain arrays, whole or not at all."""
    write_arrays(path, **vars(found))


def read_embedded(path: Path) -> EmbeddedEpisodes | None:
    """Read what `write_embedded` wrote; None if the file is missing."""
    found = read_arrays(path)
    return None if found is None else EmbeddedEpisodes(**found)
