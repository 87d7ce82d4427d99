"""The calibrated audit: is a motion nearer to a demonstration than chance brings it?

A motion of the same task from nearly the same place is near a demonstration without any
recall. How near, an independent expert on the same episodes tells: it is the held-out
sample that a test for copying needs (Meehan et al. 2020, arXiv 2004.05675). The numbers
here are of successful episodes alone, since a failure that runs to the horizon is far
from every demonstration for another reason.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from altbench.core.types import Float64
from altbench.stats.memorisation import COINCIDE_M
from altbench.stats.rates import Rate, success_rate
from altbench.stats.scores import auroc, clustered_mean

PASSED = 0.05
"""The share of the expert's episodes that the threshold lets pass as memorised."""


@dataclass(frozen=True)
class Calibrated:
    """A policy's motions beside the expert's in one case; distances in metres.

    `n`: successful episodes that have a ratio. `distance`: the median distance to the
    nearest demonstration. `memorised`: the share of episodes whose ratio of the
    distances to the nearest and the second nearest demonstration is below
    `threshold`, as 5 % of the expert's are. `z`: the Mann-Whitney statistic of the
    distances against the expert's, in standard deviations; negative: nearer than the
    expert's. `gap`: the mean of distance minus the expert's on the same episodes, over
    `pairs`, with its 95 % interval over initial poses. None without an expert.
    """

    n: int
    distance: float | None
    memorised: Rate
    threshold: float | None
    z: float | None
    pairs: int
    gap: float | None
    low: float | None
    high: float | None


def ratios(frame: pd.DataFrame) -> Float64:
    """Return (n,): the distance to the nearest demonstration over that to the second.

    NaN if both coincide with the motion, so that neither is nearer.
    """
    nearest, second = (frame[name].to_numpy(np.float64) for name in ("to_nearest_m", "to_second_m"))
    return np.divide(nearest, second, out=np.full(len(frame), np.nan), where=second >= COINCIDE_M)


def threshold_of(expert: ArrayLike, passed: float = PASSED) -> float | None:
    """Return the largest ratio that at most the share `passed` of the expert's are below.

    None if there are too few for such a share: for 5 %, fewer than 20.
    """
    known = np.sort(np.asarray(expert, np.float64))
    known = known[~np.isnan(known)]
    below = int(passed * len(known) + 1e-9)
    return float(known[below]) if below else None


def nearness(own: ArrayLike, expert: ArrayLike) -> float | None:
    """Return the Mann-Whitney statistic in standard deviations; negative: `own` is less.

    This is the z of Meehan's C_T on one region. It is a measure of how far apart two
    samples are and no test: episodes that share a pose are not independent. None if a
    side is empty.
    """
    first, second = (x[~np.isnan(x)] for x in (np.asarray(own, np.float64), np.asarray(expert, np.float64)))
    area = auroc(second, first)
    if area is None:
        return None
    n, m = len(first), len(second)
    return float((area - 0.5) * np.sqrt(12 * n * m / (n + m + 1)))


def calibrate(own: pd.DataFrame, expert: pd.DataFrame, poses: pd.Series[int]) -> Calibrated:
    """Compare a policy's episodes of one case with the expert's.

    Both as `audit.cases.frame_of` returns them; without an expert only the distances
    are known. `poses`: the initial pose of each row of `own`
    (`clustering.initial_poses`).
    """
    own, expert = _scored(own), _scored(expert)
    distances, threshold = own["to_nearest_m"].to_numpy(np.float64), threshold_of(ratios(expert))
    memorised = Rate(0, 0, None, None, None)
    if threshold is not None and len(own):
        below = own.assign(success=ratios(own) < threshold, status="ok")
        memorised = success_rate(below)
    pairs = own.assign(pose=poses).merge(expert[[*_EPISODE, "to_nearest_m"]], on=_EPISODE, suffixes=("", "_expert"))
    differences = pairs["to_nearest_m"] - pairs["to_nearest_m_expert"]
    low, high = clustered_mean(differences.to_numpy(np.float64), pairs["pose"].to_numpy(np.int64))
    return Calibrated(
        len(own),
        float(np.median(distances)) if len(own) else None,
        memorised,
        threshold,
        nearness(distances, expert["to_nearest_m"].to_numpy(np.float64)),
        len(pairs),
        float(differences.mean()) if len(pairs) else None,
        low,
        high,
    )


_EPISODE = ["seed", "episode"]


def _scored(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the successful episodes that have a ratio."""
    won = frame[frame["success"].astype(bool) & frame["to_nearest_m"].notna()]
    return won[~np.isnan(ratios(won))]
