"""Recall: whether a policy that starts where a demonstration began repeats it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from altbench.core import registry
from altbench.core.types import Float64
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.matrix import clean, recorded_cells
from altbench.report.table import Table
from altbench.rollout.records import NOT_COUNTED, EpisodeRecord
from altbench.stats.chunks import ChunkLibrary
from altbench.stats.memorisation import TrainingSet
from altbench.stats.rates import Rate, rate_of
from altbench.stats.trajectories import demonstration_trajectory, episode_trajectory, find_distance
from altbench.sweeps.plan import Cell

DISTANCE = "resampled"
"""Distance of `stats.trajectories`: mean position distance after resampling."""
FEWEST = 2
"""Least number of demonstrations, and of points of a trajectory, that can be compared.
"""
RECALLS = "recalls"
"""The file stem of `recalls_table` in a report."""


def trajectory_recall(run: ExperimentRun, cell: Cell) -> Rate:
    """Return the share of episodes whose motion is nearest to their own demonstration.

    An episode of a `recall` or `replay` cell begins from one demonstration, its own.
    Nearest is meant by `DISTANCE`. Episodes that ended before they moved do not recall.
    """
    demonstrations, records = run.demonstrations(cell.checkpoint), _counted(run.records(cell))
    if len(demonstrations) < FEWEST or not records:
        return rate_of(0, 0)
    own = [demonstrations[record.episode % len(demonstrations)].index for record in records]
    hits = sum(found == begun for found, begun in zip(nearest_demonstrations(run, cell), own, strict=True))
    return rate_of(hits, len(records))


def nearest_demonstrations(run: ExperimentRun, cell: Cell) -> list[int | None]:
    """Return which demonstration each counted episode's motion is nearest to.

    None for an episode that ended before it moved.
    """
    arms, demonstrations = registry.task(cell.checkpoint.task).arms, run.demonstrations(cell.checkpoint)
    paths = [demonstration_trajectory(d, arms) for d in demonstrations]
    known = TrainingSet(paths, [d.index for d in demonstrations], find_distance(DISTANCE))
    moved = [episode_trajectory(record.trajectory, arms) for record in _counted(run.records(cell))]
    return [known.audit(path).nearest if len(path) >= FEWEST else None for path in moved]


def chunk_recall(
    run: ExperimentRun, played: Iterable[tuple[Cell, Sequence[EpisodeRecord]]]
) -> tuple[Rate, float, float] | None:
    """Return the share of recalled chunks, their median distance and the threshold, in mm.

    `played`: cells and their episodes. None without episodes of a whole chunk. `stats.chunks` says what
    counts as recalled.
    """
    found: list[Float64] = []
    library = None
    for cell, records in played:
        arms, demonstrations = registry.task(cell.checkpoint.task).arms, run.demonstrations(cell.checkpoint)
        if len(demonstrations) < FEWEST:
            return None
        library = library or ChunkLibrary.of([demonstration_trajectory(d, arms, "actions") for d in demonstrations])
        paths = [episode_trajectory(r.trajectory, arms, "actions") for r in _counted(records)]
        found += [library.distances(path) for path in paths]
    if library is None or not sum(map(len, found)):
        return None
    return library.recalled(found), 1000 * float(np.median(np.concatenate(found))), 1000 * library.threshold


def lookup_recall(run: ExperimentRun, cell: Cell) -> Rate:
    """Return the share of episodes that mostly retrieved their own demonstration.

    Mostly: in more than half of the decisions. The rate has no episodes if the policy
    does not report what it retrieves.
    """
    demonstrations, records = run.demonstrations(cell.checkpoint), _counted(run.records(cell))
    with_matches = [record for record in records if any(d.matches for d in record.decisions)]
    if not demonstrations or not with_matches:
        return rate_of(0, 0)
    hits = 0
    for record in with_matches:
        votes = Counter(d.matches[0][0] for d in record.decisions if d.matches)
        own = demonstrations[record.episode % len(demonstrations)].index
        hits += votes[own] > sum(votes.values()) / 2
    return rate_of(hits, len(with_matches))


def pooled(run: ExperimentRun, label: str, recall: Callable[[ExperimentRun, Cell], Rate]) -> Rate:
    """Return `recall` (one of the above) over all `recall` cells of a row.

    Published episodes have no motions. So a row without records here has the rate that
    its published report tells.
    """
    rates = [recall(run, cell) for cell in recorded_cells(run, clean("recall", label=label))]
    if rates:
        return rate_of(sum(r.successes for r in rates), sum(r.episodes for r in rates))
    return _published(run, label, recall.__name__)


def recalls_table(rates: Mapping[str, Mapping[str, Rate]]) -> Table:
    """Tabulate `pooled` rates by the name of their function, then by row; it is a CSV alone."""
    rows = [
        (label, kind, rate.successes, rate.episodes)
        for kind, of_rows in rates.items()
        for label, rate in of_rows.items()
        if rate.episodes
    ]
    data = pd.DataFrame(rows, columns=["policy", "recall", "recalled", "episodes"])
    return Table("Recalls", data, (), "Episodes that recall, as counted of motions and decisions.")


def _published(run: ExperimentRun, label: str, kind: str) -> Rate:
    told = run.published_rows(RECALLS, policy=label, recall=kind)
    return rate_of(*(int(told[name].sum()) if len(told) else 0 for name in ("recalled", "episodes")))


def _counted(records: Sequence[EpisodeRecord]) -> list[EpisodeRecord]:
    return [record for record in records if record.status not in NOT_COUNTED]
