"""What E9 counts of motions: the demonstrations that they are nearest to, and the chunks that they recall.

Published episodes have no motions. So a row that was not played here has the numbers that
the tables of its published report tell.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from altbench.core import registry
from altbench.core.types import Float64
from altbench.experiments.shared import expert as expert_control
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.matrix import Where, has_published, recorded_cells
from altbench.experiments.shared.recall import (
    FEWEST,
    begun_from,
    counted_records,
    nearest_demonstrations,
    pose_of,
    told_rate,
)
from altbench.rollout.records import EpisodeRecord
from altbench.runner.episodes import episode_plans
from altbench.stats.chunks import ChunkLibrary
from altbench.stats.rates import Rate, clustered_rate
from altbench.stats.trajectories import demonstration_trajectory, episode_trajectory
from altbench.sweeps.plan import Cell

FALLBACK, CHUNKS = "fallback", "chunks"
"""The file stems of the tables with the numbers of `fallback` and of `chunks`."""
TOPS = ("top1", "top2")
"""The columns of `FALLBACK` with the shares `Fallback.tops`."""
Recalled = tuple[Rate, float, float]
"""The share of recalled chunks, their median distance to a training chunk and the threshold, in mm.

`stats.chunks` says what counts as recalled.
"""
Clusters = tuple[Hashable, ...]
"""What an episode shares with others: the cluster of each way of `stats.rates.clustered_rate`."""


@dataclass(frozen=True)
class Fallback:
    """Which demonstrations the motions of a cell's episodes are nearest to.

    `episodes`: how many were counted. `demonstrations`: how many are the nearest of some.
    `tops`: the share of the most common demonstration, and of the two most common ones;
    the intervals take these demonstrations as given. `entropy`: of the distribution, in
    bits; it is log2 of the number of demonstrations if all are equally frequent.
    """

    episodes: int
    demonstrations: int
    tops: tuple[Rate, Rate]
    entropy: float


def fallback(run: ExperimentRun, label: str, image: str, where: Where) -> Fallback | None:
    """Count the demonstrations nearest to the motions of all episodes of a row with an image.

    `where`: the image's cells. None without any motion.
    """
    cells = recorded_cells(run, {**where, "label": label})
    if cells:
        return _counted(run, cells)
    told = _published(run, FALLBACK, label, image, where, "episodes")
    if told is None:
        return None
    episodes = int(told["episodes"])
    counts = {top: round(told[top] * episodes) for top in TOPS}
    one, two = (told_rate({**told, **counts}, top, "episodes", top) for top in TOPS)
    return Fallback(episodes, int(told["demonstrations"]), (one, two), float(told["entropy_bits"]))


def chunks(run: ExperimentRun, label: str, image: str, where: Where) -> Recalled | None:
    """Return what is recalled of the chunks of a row with an image; `where`: the image's cells."""
    cells = recorded_cells(run, {**where, "label": label})
    if cells:
        return _chunk_recall(run, [(cell, run.records(cell)) for cell in cells])
    return _told(_published(run, CHUNKS, label, image, where, "rate"))


def expert_chunks(run: ExperimentRun) -> Recalled | None:
    """Return what is recalled of the scripted expert's chunks with the camera's image."""
    played = expert_control.played(run)
    if played:
        return _chunk_recall(run, played)
    return _told(_row(run, CHUNKS, expert_control.EXPERT, "camera", "rate"))


def _told(told: Any) -> Recalled | None:
    """Return what a row of the published table of chunks tells; None without one."""
    if told is None:
        return None
    return told_rate(told, "recalled", "chunks"), float(told["median_mm"]), float(told["threshold_mm"])


def _chunk_recall(run: ExperimentRun, played: Iterable[tuple[Cell, Sequence[EpisodeRecord]]]) -> Recalled | None:
    """Return what is recalled of all chunks of cells; `played`: these and their episodes."""
    found: list[Float64] = []
    clusters: list[Clusters] = []
    library = None
    for cell, records in played:
        arms, demonstrations = registry.task(cell.checkpoint.task).arms, run.demonstrations(cell.checkpoint)
        if len(demonstrations) < FEWEST:
            return None
        library = library or ChunkLibrary.of([demonstration_trajectory(d, arms, "actions") for d in demonstrations])
        counted = counted_records(records)
        found += [library.distances(episode_trajectory(r.trajectory, arms, "actions")) for r in counted]
        clusters += _clusters(run, cell, counted)
    if library is None or not sum(map(len, found)):
        return None
    rate = library.recalled(found, *zip(*clusters, strict=True))
    return rate, 1000 * float(np.median(np.concatenate(found))), 1000 * library.threshold


def _counted(run: ExperimentRun, cells: Sequence[Cell]) -> Fallback | None:
    known: list[tuple[int, Clusters]] = []
    for cell in cells:
        clusters = _clusters(run, cell, counted_records(run.records(cell)))
        both = zip(nearest_demonstrations(run, cell), clusters, strict=True)
        known += [(number, own) for number, own in both if number is not None]
    if not known:
        return None
    nearest, ways = [number for number, _ in known], list(zip(*(own for _, own in known), strict=True))
    common = Counter(nearest).most_common()
    one, two = (clustered_rate(np.isin(nearest, [n for n, _ in common[:k]]), *ways) for k in (1, 2))
    shares = np.array([count for _, count in common]) / len(nearest)
    return Fallback(len(nearest), len(common), (one, two), abs(float((shares * np.log2(shares)).sum())))


def _clusters(run: ExperimentRun, cell: Cell, records: Sequence[EpisodeRecord]) -> list[Clusters]:
    """Return the clusters of each episode: its pose, and under a photograph what each camera shows.

    A photograph hides all of the scene: a policy's motion is a function of those that its
    cameras show. Each camera's is drawn apart, so that it is a way of its own.
    """
    poses = [pose_of(own) for own in begun_from(run, cell, records)]
    if cell.column.perturbation is None:
        return [(pose,) for pose in poses]
    shown = _photographs(run, cell)
    return [(pose, *shown[record.episode]) for pose, record in zip(poses, records, strict=True)]


def _photographs(run: ExperimentRun, cell: Cell) -> list[tuple[str, ...]]:
    """Return digests of what each camera shows at first, for each episode of a cell under a photograph."""
    task, own = registry.task(cell.checkpoint.task), run.run_of(cell.checkpoint)
    blank = np.zeros((*own.sweep.image_size, 3), np.uint8)
    found = []
    for plan in episode_plans(own, cell):
        perturber = plan.perturber(task)
        images = [perturber.change(camera, 0, blank) for camera in task.cameras] if perturber else []
        found.append(tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in images))
    return found


def _published(run: ExperimentRun, stem: str, label: str, image: str, where: Where, needed: str) -> Any:
    """Return the row of a published table that tells of a row with an image.

    None if its episodes are not from published records, or without a number in the column
    `needed`.
    """
    return _row(run, stem, label, image, needed) if has_published(run, {**where, "label": label}) else None


def _row(run: ExperimentRun, stem: str, label: str, image: str, needed: str) -> Any:
    """Return the row of a published table that tells of `label` with an image; None without the number `needed`."""
    told = run.published_rows(stem, policy=label, image=image)
    own = told.dropna(subset=[needed]) if needed in told else told[:0]
    return own.iloc[0] if len(own) else None
