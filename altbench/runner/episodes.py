"""The episodes of a cell, planned, and what its record says of itself."""

from __future__ import annotations

from typing import Any

from altbench.core.seeds import derive_seed
from altbench.results.run import Run
from altbench.rollout import records
from altbench.rollout.episode import EpisodePlan
from altbench.sweeps.plan import Cell


def episode_plans(run: Run, cell: Cell) -> list[EpisodePlan]:
    """The cell's episodes. Seeds depend on the sweep and the episode alone, so all policies see the same ones."""
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
                index,
                derive_seed(root, "evaluate", index),
                derive_seed(root, "policy", index),
                options,
                column.perturbation,
                derive_seed(root, "perturb", index),
                column.entry.cameras,
                column.entry.from_step,
            )
        )
    return plans


def cell_header(cell: Cell) -> records.CellHeader:
    """What a cell's record says of itself."""
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
