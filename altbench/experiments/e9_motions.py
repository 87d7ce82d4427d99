"""What E9 counts of motions: the demonstrations that they are nearest to, and the chunks that they recall.

Published episodes have no motions. So a row that was not played here has the numbers that
the tables of its published report tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from altbench.experiments.shared import expert as expert_control
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.matrix import Where, cells_of, recorded_cells
from altbench.experiments.shared.recall import chunk_recall, nearest_demonstrations
from altbench.stats.rates import Rate, rate_of
from altbench.sweeps.plan import Cell

FALLBACK, CHUNKS = "fallback", "chunks"
"""The file stems of the tables with the numbers of `fallback` and of `chunks`."""
Recalled = tuple[Rate, float, float]
"""What `chunk_recall` returns."""


@dataclass(frozen=True)
class Fallback:
    """Which demonstrations the motions of a cell's episodes are nearest to.

    `episodes`: how many were counted. `demonstrations`: how many are the nearest of some.
    `tops`: episodes of the most common demonstration, and of the two most common ones.
    `entropy`: of the distribution, in bits; it is log2 of the number of demonstrations if
    all are equally frequent.
    """

    episodes: int
    demonstrations: int
    tops: tuple[int, int]
    entropy: float

    def top(self, k: int) -> Rate:
        """Return the share of episodes of the `k` most common demonstrations, one or two."""
        return rate_of(self.tops[k - 1], self.episodes)


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
    one, two = (round(told[name] * episodes) for name in ("top1", "top2"))
    return Fallback(episodes, int(told["demonstrations"]), (one, two), float(told["entropy_bits"]))


def chunks(run: ExperimentRun, label: str, image: str, where: Where) -> Recalled | None:
    """Return `chunk_recall` of a row with an image; `where`: the image's cells."""
    cells = recorded_cells(run, {**where, "label": label})
    if cells:
        return chunk_recall(run, [(cell, run.records(cell)) for cell in cells])
    return _told(_published(run, CHUNKS, label, image, where, "low"))


def expert_chunks(run: ExperimentRun) -> Recalled | None:
    """Return `chunk_recall` of the scripted expert on the episodes with the camera's image."""
    played = expert_control.played(run)
    if played:
        return chunk_recall(run, played)
    return _told(_row(run, CHUNKS, expert_control.EXPERT, "camera", "low"))


def _told(told: Any) -> Recalled | None:
    """Return what a row of the published table of chunks tells; None without one."""
    if told is None:
        return None
    hits, size = int(told["recalled"]), int(told["chunks"])
    rate = Rate(hits, size, hits / size, float(told["low"]), float(told["high"]))
    return rate, float(told["median_mm"]), float(told["threshold_mm"])


def _counted(run: ExperimentRun, cells: Sequence[Cell]) -> Fallback | None:
    nearest = [number for cell in cells for number in nearest_demonstrations(run, cell) if number is not None]
    if not nearest:
        return None
    counts = np.array([count for _, count in Counter(nearest).most_common()])
    shares = counts / len(nearest)
    tops = int(counts[0]), int(counts[:2].sum())
    return Fallback(len(nearest), len(counts), tops, abs(float((shares * np.log2(shares)).sum())))


def _published(run: ExperimentRun, stem: str, label: str, image: str, where: Where, needed: str) -> Any:
    """Return the row of a published table that tells of a row with an image.

    None if its episodes are not from published records, or without a number in the column
    `needed`.
    """
    published = {cell.key for cell in run.from_published}
    if not any(cell.key in published for cell in cells_of(run, {**where, "label": label})):
        return None
    return _row(run, stem, label, image, needed)


def _row(run: ExperimentRun, stem: str, label: str, image: str, needed: str) -> Any:
    """Return the row of a published table that tells of `label` with an image; None without the number `needed`."""
    told = run.published_rows(stem, policy=label, image=image)
    own = told.dropna(subset=[needed]) if needed in told else told[:0]
    return own.iloc[0] if len(own) else None
