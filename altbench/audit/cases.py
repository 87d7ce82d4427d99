"""The cases of the memorisation audit (the paper's E2), and the audit of a cell's
recorded episodes in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import pandas as pd

from altbench.core import registry
from altbench.core.demonstration import Demonstration
from altbench.core.errors import ConfigError, suggestion
from altbench.core.task import TaskInfo
from altbench.rollout.records import NOT_COUNTED, EpisodeRecord
from altbench.stats.clustering import initial_poses
from altbench.stats.memorisation import Likeness, TrainingSet
from altbench.stats.scores import Summary, summarise
from altbench.stats.trajectories import Distance, Source, demonstration_trajectory, episode_trajectory
from altbench.sweeps.plan import Cell
from altbench.sweeps.spec import CLEAN, EvaluationEntry, PerturbationEntry

COINCIDE = "the two nearest demonstrations coincide"
NO_TRAJECTORY = "ended before it had a trajectory"
"""Reasons for an empty S, as episodes.csv gives them."""


@dataclass(frozen=True)
class Case:
    """A case of the audit: where the object is, and how the scene is perturbed
    (`severity` 0: not at all).
    """

    name: str
    split: str
    perturbation: str = CLEAN
    severity: int = 0

    @property
    def title(self) -> str:
        """The name as figures show it: `extrapolate side`."""
        return self.name.replace("_", " ")

    @property
    def column(self) -> str:
        """The name of its column of the tables: `recall/clean`."""
        return f"{self.split}/{self.perturbation}" + (f"-{self.severity}" if self.severity else "")

    def matches(self, cell: Cell) -> bool:
        """Return whether `cell` belongs to this case."""
        return cell.column.name == self.column and not cell.options


CASES = (
    Case("in_distribution", "recall"),
    Case("distractors", "recall", "distractors", 3),
    Case("interpolate", "interpolate"),
    Case("extrapolate_side", "extrapolate_side"),
    Case("extrapolate_back", "extrapolate_back"),
)
"""All cases, in the paper's order. `recall` has the demonstrated poses of the object,
with fresh noise of the robot.
"""


def choose_cases(names: Sequence[str], task: TaskInfo) -> tuple[Case, ...]:
    """Return the cases called `names`, in the paper's order.

    Without names, all that `task` has. ConfigError for a case that is unknown, or that
    the task lacks.
    """
    known = {case.name: case for case in CASES}
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown case {name!r}{suggestion(name, known)}")
        if known[name].split not in task.splits:
            raise ConfigError(
                f"case {name!r}: {task.name} has no split {known[name].split!r} ({', '.join(task.splits)})"
            )
    return tuple(c for c in CASES if (c.name in names if names else c.split in task.splits))


def evaluations(cases: Sequence[Case], episodes: int) -> tuple[EvaluationEntry, ...]:
    """Return what a sweep must evaluate for `cases`, with `episodes` each."""
    return tuple(
        EvaluationEntry(
            split=case.split,
            episodes=episodes,
            perturbations=()
            if case.perturbation == CLEAN
            else (PerturbationEntry(name=case.perturbation, severities=(case.severity,)),),
        )
        for case in cases
    )


def case_of(cell: Cell) -> Case | None:
    """Return the case that `cell` belongs to; None if it belongs to none."""
    return next((case for case in CASES if case.matches(cell)), None)


@dataclass(frozen=True)
class AuditedEpisode:
    """One episode of a cell, compared with the training set.

    `likeness`: None if the episode has no S; `why_empty` says why, in words.
    """

    cell: Cell
    case: Case
    record: EpisodeRecord
    likeness: Likeness | None
    why_empty: str = ""

    @property
    def s(self) -> float | None:
        """The episode's score S; None if it has none."""
        return None if self.likeness is None else self.likeness.s


def training_trajectories(
    demonstrations: Sequence[Demonstration], task: TaskInfo, distance: Distance, source: Source = "positions"
) -> TrainingSet:
    """Return the trajectories of `demonstrations`, ready for comparison."""
    trajectories = [demonstration_trajectory(d, task.arms, source) for d in demonstrations]
    return TrainingSet(trajectories, [d.index for d in demonstrations], distance)


def audit_episodes(
    cell: Cell, records: Sequence[EpisodeRecord], training: TrainingSet, source: Source = "positions"
) -> list[AuditedEpisode]:
    """Return each episode of a case's `cell` that counts, audited.

    An episode that ended in an error was cut off, so it has no S.
    """
    case, arms = case_of(cell), registry.task(cell.checkpoint.task).arms
    if case is None:
        raise ConfigError(f"{cell.name} is not a case of the audit ({', '.join(c.name for c in CASES)})")
    found = []
    for record in records:
        if record.status in NOT_COUNTED:
            continue
        trajectory = episode_trajectory(record.trajectory, arms, source)
        likeness = training.audit(trajectory) if record.status == "ok" and len(trajectory) else None
        found.append(AuditedEpisode(cell, case, record, likeness, _why_empty(record, likeness)))
    return found


def _why_empty(record: EpisodeRecord, likeness: Likeness | None) -> str:
    if likeness is None:
        return NO_TRAJECTORY if record.status == "ok" else record.status
    return COINCIDE if likeness.s is None else ""


COLUMNS = ("task", "label", "policy", "preset", "n", "train_seed", "case", "split", "perturbation", "severity")
NUMBERS = ("s", "nearest", "second", "to_nearest_m", "to_second_m", "between_m")
"""The columns of S: the score, the two nearest demonstrations, and the distances (m)
that S is made of.
"""
ORDER = "spec_json"
"""The column that says by which seed an episode's demonstrations are ordered."""


def frame_of(audited: Sequence[AuditedEpisode]) -> pd.DataFrame:
    """Return one row per episode: its cell, its outcome, S, and the distances in metres
    behind S.
    """
    columns = [*COLUMNS, ORDER, "episode", "seed", "status", "success", "steps", *NUMBERS, "why_empty"]
    return typed(pd.DataFrame([_row(one) for one in audited], columns=columns))


def summary_of(frame: pd.DataFrame) -> Summary:
    """Return the summary of S of episodes of `frame_of`; those of an initial pose are one cluster."""
    return summarise(frame["s"].to_list(), initial_poses(frame))


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return episodes with the types of `frame_of`, whichever numbers are missing."""
    whole = ("nearest", "second")
    return frame.astype({name: "Int64" if name in whole else "float64" for name in NUMBERS})


def _row(one: AuditedEpisode) -> dict[str, Any]:
    point, record, found = one.cell.checkpoint, one.record, one.likeness
    numbers: tuple[Any, ...] = ()
    if found is not None:
        numbers = (found.s, found.nearest, found.second, found.to_nearest, found.to_second, found.between)
    return {
        "task": point.task,
        "label": one.cell.label,
        "policy": point.policy,
        "preset": point.preset,
        "n": point.n,
        "train_seed": point.train_seed,
        "case": one.case.name,
        "split": one.case.split,
        "perturbation": one.case.perturbation,
        "severity": one.case.severity,
        ORDER: one.cell.specification,
        "episode": record.episode,
        "seed": record.seed,
        "status": record.status,
        "success": record.success,
        "steps": record.steps,
        **dict(zip_longest(NUMBERS, numbers)),
        "why_empty": one.why_empty,
    }
