"""Trajectory recall: whether a policy, put where a demonstration began, does what that demonstration did."""

from __future__ import annotations

from collections import Counter

from altbench.core import registry
from altbench.experiments.shared.experiment import ExperimentRun
from altbench.rollout.records import NOT_COUNTED, EpisodeRecord
from altbench.stats.memorisation import TrainingSet
from altbench.stats.rates import Rate, rate_of
from altbench.stats.trajectories import demonstration_trajectory, episode_trajectory, find_distance
from altbench.sweeps.plan import Cell

DISTANCE = "resampled"
FEWEST = 2
"""Demonstrations and trajectory points below which nothing can be said."""


def trajectory_recall(run: ExperimentRun, cell: Cell) -> Rate:
    """Episodes of a `recall` or `replay` cell whose motion is nearest to the very demonstration they began from.

    Nearest by mean position distance after resampling (`altbench.trajectories`). Episodes that ended before they moved
    do not recall.
    """
    demonstrations, records = run.demonstrations(cell.checkpoint), _counted(run.records(cell))
    if len(demonstrations) < FEWEST or not records:
        return rate_of(0, 0)
    arms = registry.task(cell.checkpoint.task).arms
    paths = [demonstration_trajectory(d, arms) for d in demonstrations]
    known = TrainingSet(paths, [d.index for d in demonstrations], find_distance(DISTANCE))
    hits = 0
    for record in records:
        path = episode_trajectory(record.trajectory, arms)
        own = demonstrations[record.episode % len(demonstrations)].index
        hits += len(path) >= FEWEST and known.audit(path).nearest == own
    return rate_of(hits, len(records))


def lookup_recall(run: ExperimentRun, cell: Cell) -> Rate:
    """Episodes of a `recall` or `replay` cell most of whose decisions retrieved the demonstration they began from.

    Without episodes for a policy that does not say what it retrieves.
    """
    demonstrations, records = run.demonstrations(cell.checkpoint), _counted(run.records(cell))
    told = [record for record in records if any(d.matches for d in record.decisions)]
    if not demonstrations or not told:
        return rate_of(0, 0)
    hits = 0
    for record in told:
        votes = Counter(d.matches[0][0] for d in record.decisions if d.matches)
        own = demonstrations[record.episode % len(demonstrations)].index
        hits += votes[own] > sum(votes.values()) / 2
    return rate_of(hits, len(told))


def _counted(records: tuple[EpisodeRecord, ...]) -> list[EpisodeRecord]:
    return [record for record in records if record.status not in NOT_COUNTED]
