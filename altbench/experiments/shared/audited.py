"""The episodes that E2 and E5 audit, under several distances: of motions, or of a published report.

Published episodes have no motions. So a report publishes S of every episode, exactly, and a
later one reads those of the cells that were not played here.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from altbench.audit.cases import (
    AuditedEpisode,
    audit_episodes,
    case_of,
    frame_of,
    training_trajectories,
    typed,
)
from altbench.audit.figures import likeness_frame
from altbench.core import registry
from altbench.experiments.shared import expert as expert_control
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.rollout.records import EpisodeRecord
from altbench.stats.memorisation import TrainingSet
from altbench.stats.trajectories import Source, find_distance
from altbench.sweeps.plan import Cell

AUDITED, SIMILARITY = "audited", "similarity"
"""The file stems, in a report, of S by every way, and of the distances to all demonstrations."""
WAY = "way"
"""The column of `AUDITED` that names the way."""
PLACE = ["task", "label", "n", "train_seed", "case"]
"""The columns that name a cell among those of all cases."""
Place = tuple[Any, ...]
"""The values of a cell in the columns `PLACE`."""


@dataclass(frozen=True)
class Way:
    """A way to compare trajectories: a distance of `stats.trajectories` and a source."""

    title: str
    distance: str
    source: Source


POSITIONS = Way("positions, resampled", "resampled", "positions")
WARPED = Way("positions, time warping", "dtw", "positions")
ACTIONS = Way("actions, resampled", "resampled", "actions")
WAYS = (POSITIONS, WARPED, ACTIONS)


@dataclass(frozen=True)
class Audit:
    """All audited episodes.

    `by_way`: each way's episodes as a frame of `audit.cases.frame_of`, by title.
    `similarity`: as `audit.figures.likeness_frame`. `missing`: the names of the expert's
    cells that are not known.
    """

    by_way: dict[str, pd.DataFrame]
    similarity: pd.DataFrame
    missing: tuple[str, ...] = ()

    @property
    def positions(self) -> pd.DataFrame:
        """The episodes by `POSITIONS`."""
        return self.by_way[POSITIONS.title]

    def frames(self) -> dict[str, pd.DataFrame]:
        """Return what a later report reads in place of motions: the frames of a `Report`."""
        return {AUDITED: pd.concat([f.assign(**{WAY: way}) for way, f in self.by_way.items()], ignore_index=True)}


def audit(run: ExperimentRun) -> Audit:
    """Audit all cells that belong to a case, and the expert's cells.

    Those that were not played here are as their published report tells.
    """
    controls = expert_control.controls(run)
    places = [_place(cell) for cell in (*run.cells, *controls) if case_of(cell) is not None]
    motions = [*((cell, run.records(cell)) for cell in run.recorded), *expert_control.played(run)]
    told = _published(run, {_place(cell) for cell in (*run.from_published, *controls)})
    by_way, similar = {}, likeness_frame([])
    for way in WAYS:
        own = _audited(run, motions, way)
        by_way[way.title] = _in_order(places, own, told.get(way.title, {}))
        if way == POSITIONS:
            similar = likeness_frame([one for episodes in own.values() for one in episodes])
    known = {cell.name for cell in controls if _place(cell) in told.get(POSITIONS.title, {})}
    missing = tuple(name for name in expert_control.missing(run) if name not in known)
    return Audit(by_way, _with_published(run, similar, by_way[POSITIONS.title]), missing)


def _place(cell: Cell) -> Place:
    # The expert's cells of two cases may have one key: it plays without perturbation.
    point, case = cell.checkpoint, case_of(cell)
    return point.task, cell.label, point.n, point.train_seed, case.name if case else ""


def _audited(
    run: ExperimentRun, motions: Iterable[tuple[Cell, tuple[EpisodeRecord, ...]]], way: Way
) -> dict[Place, list[AuditedEpisode]]:
    """Return the audited episodes of the cells of a case."""
    distance, found = find_distance(way.distance), {}
    known: dict[tuple[str, int], TrainingSet] = {}
    for cell, records in motions:
        point = cell.checkpoint
        if case_of(cell) is None:
            continue
        shown = (point.task, point.n)
        if shown not in known:
            demonstrations = run.demonstrations(point)
            known[shown] = training_trajectories(demonstrations, registry.task(point.task), distance, way.source)
        found[_place(cell)] = audit_episodes(cell, records, known[shown], way.source)
    return found


def _in_order(
    places: Iterable[Place], own: Mapping[Place, Sequence[AuditedEpisode]], told: Mapping[Place, pd.DataFrame]
) -> pd.DataFrame:
    """Return the episodes of all cells in one frame: audited here, else published."""
    frames = [frame_of(own[p]) if p in own else told[p] for p in places if p in own or p in told]
    some = [frame for frame in frames if len(frame)]
    return pd.concat(some, ignore_index=True) if some else frame_of([])


def _published(run: ExperimentRun, places: Container[Place]) -> dict[str, dict[Place, pd.DataFrame]]:
    """Return the published episodes of the cells at `places`, by way."""
    frame = run.published_frame(AUDITED)
    found: dict[str, dict[Place, pd.DataFrame]] = {}
    if frame.empty:
        return found
    for (way, *place), part in frame.groupby([WAY, *PLACE], sort=False):
        if tuple(place) in places:
            found.setdefault(str(way), {})[tuple(place)] = typed(part.drop(columns=WAY))
    return found


def _with_published(run: ExperimentRun, own: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """Return `own` similarities, and the published ones of further cells in `known`."""
    told = run.published_table(SIMILARITY)
    if told.empty:
        return own
    cell = ["task", "label", "case"]
    here, all_known = (set(frame[cell].itertuples(index=False, name=None)) for frame in (own, known))
    further = told[[key in all_known - here for key in told[cell].itertuples(index=False, name=None)]]
    return pd.concat([own, further], ignore_index=True) if len(own) else further.reset_index(drop=True)
