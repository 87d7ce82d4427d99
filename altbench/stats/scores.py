"""Means of scores with bootstrap intervals, and the area under the ROC curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from altbench.core.types import Float64

RESAMPLES = 10_000
BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Summary:
    """S over episodes: `n` that have one, `empty` that have none; None where `n` is too small for a number.

    `low`, `high`: 95 % bootstrap interval of the mean (percentiles, seeded); `lower`, `median`, `upper`: quartiles.
    """

    n: int
    empty: int
    highest: float | None = None
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    lower: float | None = None
    median: float | None = None
    upper: float | None = None


def summarise(scores: ArrayLike) -> Summary:
    """The summary of episodes' S; None (or NaN) is counted as empty."""
    values = _numbers(scores)
    found = values[~np.isnan(values)]
    empty = len(values) - len(found)
    if len(found) == 0:
        return Summary(0, empty)
    lower, median, upper = (float(q) for q in np.quantile(found, [0.25, 0.5, 0.75]))
    low, high = bootstrap_mean(found)
    return Summary(len(found), empty, float(found.max()), float(found.mean()), low, high, lower, median, upper)


def bootstrap_mean(values: ArrayLike, confidence: float = 0.95) -> tuple[float | None, float | None]:
    """Percentile bootstrap interval of the mean of `values` (n,), the same every time; None for fewer than two."""
    found = _numbers(values)
    if len(found) < 2:
        return None, None
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    means = found[rng.integers(0, len(found), (RESAMPLES, len(found)))].mean(axis=1)
    low, high = np.quantile(means, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def auroc(clean: ArrayLike, perturbed: ArrayLike) -> float | None:
    """Return the probability that a perturbed score exceeds a clean one, ties counting half; None if a side has no score.

    The Mann-Whitney statistic U over the number of pairs. Missing scores (None, NaN, NA) are left out.
    """
    # scipy.stats takes 2 s to import, which commands that compute no AUROC need not wait for.
    from scipy.stats import rankdata

    below, above = (side[~np.isnan(side)] for side in (_numbers(clean), _numbers(perturbed)))
    if below.size == 0 or above.size == 0:
        return None
    ranks = rankdata(np.concatenate([above, below]))[: above.size]
    u = ranks.sum() - above.size * (above.size + 1) / 2
    return float(u / (above.size * below.size))


def _numbers(values: ArrayLike) -> Float64:
    """Return float64 (n,) of a list, an array or a Series, nullable ones too; NaN where a value is missing."""
    numbers: Float64 = np.asarray(pd.Series(values, dtype="Float64").to_numpy(np.float64, na_value=np.nan), np.float64)
    return numbers
