"""Recall: whether a policy that starts where a demonstration began repeats it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from altbench.core import registry
from altbench.core.demonstration import Demonstration
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.matrix import clean, recorded_cells
from altbench.report.table import Table
from altbench.rollout.records import NOT_COUNTED, EpisodeRecord
from altbench.stats.memorisation import TrainingSet
from altbench.stats.rates import Rate, clustered_rate, rate_of
from altbench.stats.trajectories import demonstration_trajectory, episode_trajectory, find_distance
from altbench.sweeps.plan import Cell

DISTANCE = "resampled"
"""Distance of `stats.trajectories`: mean position distance after resampling."""
FEWEST = 2
"""Least number of demonstrations, and of points of a trajectory, that can be compared.
"""
RECALLS = "recalls"
"""The file stem of `recalls_table` in a report."""
OVER_POSES = " Intervals are Wilson's at 95 %, over initial poses."
WITHOUT = (
    " A share without an interval is of a report that was published with intervals over episodes, which are too narrow."
)
Recall = tuple[bool, int]
"""Whether an episode recalls, and its initial pose."""


def trajectory_recall(run: ExperimentRun, cell: Cell) -> list[Recall]:
    """Return of each episode whether its motion is nearest to its own demonstration.

    An episode of a `recall` or `replay` cell begins from one demonstration, its own.
    Nearest is meant by `DISTANCE`. Episodes that ended before they moved do not recall.
    """
    if len(run.demonstrations(cell.checkpoint)) < FEWEST:
        return []
    owns = begun_from(run, cell, counted_records(run.records(cell)))
    return [
        (found == own.index, pose_of(own)) for found, own in zip(nearest_demonstrations(run, cell), owns, strict=True)
    ]


def begun_from(run: ExperimentRun, cell: Cell, records: Iterable[EpisodeRecord]) -> list[Demonstration]:
    """Return the demonstration that each episode of a `recall` or `replay` cell began from."""
    demonstrations = run.demonstrations(cell.checkpoint)
    return [demonstrations[record.episode % len(demonstrations)] for record in records]


def pose_of(demonstration: Demonstration) -> int:
    """Return the number of a demonstration's pose: that of the grid, or below 0 one of its own."""
    return demonstration.grid_index if demonstration.grid_index >= 0 else -1 - demonstration.index


def nearest_demonstrations(run: ExperimentRun, cell: Cell) -> list[int | None]:
    """Return which demonstration each counted episode's motion is nearest to.

    None for an episode that ended before it moved.
    """
    arms, demonstrations = registry.task(cell.checkpoint.task).arms, run.demonstrations(cell.checkpoint)
    paths = [demonstration_trajectory(d, arms) for d in demonstrations]
    known = TrainingSet(paths, [d.index for d in demonstrations], find_distance(DISTANCE))
    moved = [episode_trajectory(record.trajectory, arms) for record in counted_records(run.records(cell))]
    return [known.audit(path).nearest if len(path) >= FEWEST else None for path in moved]


def lookup_recall(run: ExperimentRun, cell: Cell) -> list[Recall]:
    """Return of each episode whether it mostly retrieved its own demonstration.

    Mostly: in more than half of the decisions. Empty if the policy does not report what
    it retrieves.
    """
    if not run.demonstrations(cell.checkpoint):
        return []
    found = []
    with_matches = [r for r in counted_records(run.records(cell)) if any(d.matches for d in r.decisions)]
    for record, own in zip(with_matches, begun_from(run, cell, with_matches), strict=True):
        votes = Counter(d.matches[0][0] for d in record.decisions if d.matches)
        found.append((votes[own.index] > sum(votes.values()) / 2, pose_of(own)))
    return found


def pooled(run: ExperimentRun, label: str, recall: Callable[[ExperimentRun, Cell], list[Recall]]) -> Rate:
    """Return the share of episodes that recall, over all `recall` cells of a row.

    `recall`: one of the above. Published episodes have no motions. So a row without
    records here has the rate that its published report tells.
    """
    cells = recorded_cells(run, clean("recall", label=label))
    if cells:
        found = [one for cell in cells for one in recall(run, cell)]
        return clustered_rate([hit for hit, _ in found], [pose for _, pose in found])
    told = run.published_rows(RECALLS, policy=label, recall=recall.__name__)
    return told_rate(dict(told.iloc[0]), "recalled", "episodes") if len(told) else rate_of(0, 0)


def recalls_table(rates: Mapping[str, Mapping[str, Rate]]) -> Table:
    """Tabulate `pooled` rates by the name of their function, then by row; it is a CSV alone."""
    rows = [
        (label, kind, rate.successes, rate.episodes, rate.low, rate.high)
        for kind, of_rows in rates.items()
        for label, rate in of_rows.items()
        if rate.episodes
    ]
    columns = ["policy", "recall", "recalled", "episodes", "pose_low", "pose_high"]
    data = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[-2:], "float64"))
    return Table("Recalls", data, (), "Episodes that recall, as counted of motions and decisions." + OVER_POSES)


def told_rate(row: Mapping[str, Any], hits: str, size: str, name: str = "pose") -> Rate:
    """Return a rate of a row of a published table.

    `hits`, `size`: its columns with the counts. `name`: the columns with the limits are
    this with `_low` and `_high`. Without them the rate has no interval.
    """
    successes, episodes = int(row[hits]), int(row[size])
    low, high = (float(limit) if pd.notna(limit := row.get(f"{name}_{end}")) else None for end in ("low", "high"))
    return Rate(successes, episodes, successes / episodes, low, high)


def without_intervals(rates: Iterable[Rate]) -> str:
    """Return what a note says of shares without an interval; empty if all have one."""
    return WITHOUT if any(rate.value is not None and rate.low is None for rate in rates) else ""


def counted_records(records: Iterable[EpisodeRecord]) -> list[EpisodeRecord]:
    """Return the episodes that count."""
    return [record for record in records if record.status not in NOT_COUNTED]
