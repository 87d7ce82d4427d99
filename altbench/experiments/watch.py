"""Recorded episodes played again for the keys of what the policy saw: an episode is a function of its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from altbench import registry
from altbench.api import Decision, Float32, Float64, Int64, Observation, Policy, Requirements
from altbench.atomic import replacing
from altbench.errors import AltbenchError
from altbench.experiments.base import Run
from altbench.experiments.keys import Embeds
from altbench.jobs import episode_plans
from altbench.plan import Cell
from altbench.records import NOT_COUNTED
from altbench.rollout import make_env, run_episode


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


def watch(run: Run, cell: Cell, episodes: int) -> Watched | None:
    """Play those of a recorded cell's first `episodes` that count again; None where there are none, or no keys.

    AltbenchError where an episode ends otherwise than recorded.
    """
    inner, setting = run.policy(cell.checkpoint, cell.runtime), run.setting(cell.checkpoint)
    if inner is None or not hasattr(inner, "embed"):
        return None
    watcher = _Watcher(inner)
    task = registry.task(cell.checkpoint.task)
    env = make_env(task, watcher.requirements, setting.sweep.image_size, setting.sweep.render_profile)
    parts: list[tuple[int, int, Any]] = []
    success: list[float] = []
    with closing(env):
        for plan, record in zip(episode_plans(setting, cell)[:episodes], run.records(cell), strict=False):
            if record.status in NOT_COUNTED:
                continue
            again = run_episode(env, watcher, plan, setting.sweep.decision_timeout_s)
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
