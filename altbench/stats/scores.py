"""Means of scores with bootstrap intervals, and the area under the ROC curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
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


def summarise(scores: Sequence[float | None]) -> Summary:
    """The summary of episodes' S; None (or NaN) is counted as empty."""
    values = np.array([np.nan if s is None else s for s in scores], np.float64)
    found = values[~np.isnan(values)]
    empty = len(values) - len(found)
    if len(found) == 0:
        return Summary(0, empty)
    lower, median, upper = (float(q) for q in np.quantile(found, [0.25, 0.5, 0.75]))
    low, high = bootstrap_mean(found)
    return Summary(len(found), empty, float(found.max()), float(found.mean()), low, high, lower, median, upper)


def bootstrap_mean(values: Float64, confidence: float = 0.95) -> tuple[float | None, float | None]:
    """Percentile bootstrap interval of the mean of `values` (n,), the same every time; None for fewer than two."""
    if len(values) < 2:
        return None, None
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    means = values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def auroc(clean: ArrayLike, perturbed: ArrayLike) -> float | None:
    """Probability that a perturbed score exceeds a clean one, ties counting half; None where a side has no score."""
    below, above = (np.asarray(side, np.float64) for side in (clean, perturbed))
    below, above = np.sort(below[~np.isnan(below)]), above[~np.isnan(above)]
    if below.size == 0 or above.size == 0:
        return None
    less, not_more = np.searchsorted(below, above, "left"), np.searchsorted(below, above, "right")
    return float((less + not_more).sum() / (2 * below.size * above.size))
