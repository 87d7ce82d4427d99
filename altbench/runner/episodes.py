"""The plan of a cell's episodes, and the header of its record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from altbench.core.errors import ConfigError
from altbench.core.perturbation import AnyPerturbation
from altbench.core.seeds import derive_seed
from altbench.core.task import InitialState
from altbench.results.run import Run
from altbench.rollout import records
from altbench.rollout.plan import EpisodePlan, PlannedPerturbation
from altbench.sweeps.needs import CALIBRATE, FROM_DEMONSTRATIONS, task_split
from altbench.sweeps.plan import Cell
from altbench.sweeps.spec import EventEntry

SAME_PLACE = 0.001
"""Metres within which two demonstrations count as of one place."""


class Started(Protocol):
    """What an episode takes of a demonstration: the state in which it began."""

    @property
    def initial_state(self) -> InitialState:
        """The state in which the demonstration began."""
        ...


def episode_plans(run: Run, cell: Cell) -> list[EpisodePlan]:
    """Return the plans of a cell's episodes."""
    column, entry = cell.column, cell.column.entry
    starts = run.demonstrations(cell.checkpoint) if column.split in FROM_DEMONSTRATIONS else ()
    return [
        plan_episode(
            run.sweep.seed,
            index,
            column.split,
            starts,
            perturbation=column.perturbation,
            cameras=entry.cameras,
            from_step=entry.from_step,
            event=column.event,
        )
        for index in range(cell.episodes)
    ]


def plan_episode(
    root_seed: int,
    index: int,
    split: str,
    starts: Sequence[Started],
    *,
    perturbation: AnyPerturbation | None = None,
    cameras: tuple[str, ...] = (),
    from_step: int = 0,
    event: EventEntry | None = None,
) -> EpisodePlan:
    """Return the plan of the episode `index` of a split.

    `starts`: the demonstrations to begin from, in turn; empty for a split that draws its
    poses. `cameras`, `from_step`: as in `PlannedPerturbation`. Seeds depend on
    `root_seed` and the episode's number alone. So all policies play the same episodes,
    and comparisons are paired.
    """
    options: dict[str, Any] = {"split": task_split(split), "episode": index, **_move(event, index, starts)}
    if starts:
        options["initial_state"] = starts[index % len(starts)].initial_state
    planned = None
    if perturbation is not None:
        planned = PlannedPerturbation(perturbation, derive_seed(root_seed, "perturb", index), cameras, from_step)
    return EpisodePlan(
        index=index,
        seed=derive_seed(root_seed, "calibrate" if split == CALIBRATE else "evaluate", index),
        policy_seed=derive_seed(root_seed, "policy", index),
        options=options,
        perturbation=planned,
    )


def _move(event: EventEntry | None, index: int, starts: Sequence[Started]) -> dict[str, Any]:
    """Return the options of `reset` for an event; empty without one."""
    if event is None:
        return {}
    if not event.to:
        return {"move_at": event.move_at, "by": event.by}
    poses = np.unique([start.initial_state.object_pose for start in starts], axis=0)
    own = starts[index % len(starts)].initial_state.object_pose
    away = np.linalg.norm(poses[:, :2] - own[:2], axis=1)
    others = away > SAME_PLACE
    if not others.any():
        raise ConfigError("event: to = 'demonstrated': expected demonstrations of two places at least, got one")
    return {"move_at": event.move_at, "move_to": poses[others][away[others].argmin()]}


def cell_header(cell: Cell) -> records.CellHeader:
    """Return the header of a cell's record."""
    point = cell.checkpoint
    return records.CellHeader(
        key=cell.key,
        name=cell.name,
        task=point.task,
        label=cell.label,
        policy=point.policy,
        preset=cell.preset,
        n=point.n,
        train_seed=point.train_seed,
        split=cell.split,
        perturbation=cell.condition,
        severity=cell.severity,
        checkpoint_key=point.key,
        spec_json=cell.specification,
    )
