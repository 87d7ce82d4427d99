"""The plan of a cell's episodes, and the header of its record."""

from __future__ import annotations

from typing import Any

from altbench.core.seeds import derive_seed
from altbench.results.run import Run
from altbench.rollout import records
from altbench.rollout.episode import EpisodePlan, PlannedPerturbation
from altbench.sweeps.plan import Cell
from altbench.sweeps.rows import Column


def episode_plans(run: Run, cell: Cell) -> list[EpisodePlan]:
    """Return the plans of a cell's episodes.

    Seeds depend on the sweep and the episode's number alone. So all policies play the
    same episodes, and comparisons are paired.
    """
    root = run.sweep.seed
    column = cell.column
    starts = run.demonstrations(cell.checkpoint) if column.split in ("replay", "recall") else ()
    event = column.event.model_dump() if column.event else {}
    plans = []
    for index in range(cell.episodes):
        options: dict[str, Any] = {"split": column.split, "episode": index, **event}
        if starts:
            options["initial_state"] = starts[index % len(starts)].initial_state
        plans.append(
            EpisodePlan(
                index=index,
                seed=derive_seed(root, "evaluate", index),
                policy_seed=derive_seed(root, "policy", index),
                options=options,
                perturbation=_perturbation(column, derive_seed(root, "perturb", index)),
            )
        )
    return plans


def _perturbation(column: Column, seed: int) -> PlannedPerturbation | None:
    if column.perturbation is None:
        return None
    return PlannedPerturbation(column.perturbation, seed, column.entry.cameras, column.entry.from_step)


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
