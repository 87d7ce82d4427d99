"""Means of scores with bootstrap intervals, and the area under the ROC curve."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from altbench.stats.inputs import numbers, numbers_or_missing, share

RESAMPLES = 10_000
"""How many bootstrap resamples the interval of a mean is computed from."""
BOOTSTRAP_SEED = 0
"""Seed of the resamples, fixed so that the same scores have the same interval."""


@dataclass(frozen=True)
class Summary:
    """The memorisation scores S of several episodes.

    `n` episodes have a score, `empty` have not. `low`, `high`: 95 % bootstrap interval
    of the mean over initial poses (percentiles, seeded). `lower`, `median`, `upper`:
    quartiles. A number is None if `n` is too small for it.
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


def summarise(scores: ArrayLike, clusters: ArrayLike) -> Summary:
    """Summarise the scores S of episodes; None, NaN and NA count as empty.

    `clusters`: the initial pose of each episode, for the interval of the mean.
    """
    values = numbers_or_missing(scores, "scores")
    known = ~np.isnan(values)
    found, empty = values[known], int((~known).sum())
    if len(found) == 0:
        return Summary(0, empty)
    lower, median, upper = (float(q) for q in np.quantile(found, [0.25, 0.5, 0.75]))
    low, high = clustered_mean(found, np.asarray(clusters)[known])
    return Summary(len(found), empty, float(found.max()), float(found.mean()), low, high, lower, median, upper)


def clustered_mean(
    values: ArrayLike, clusters: ArrayLike, confidence: float = 0.95
) -> tuple[float | None, float | None]:
    """Return the percentile bootstrap interval of the mean of `values` (n,), resampling whole clusters.

    `clusters`, (n,), names the cluster of each value. The interval is the same every
    time. Both ends are None for fewer than two clusters. ValueError if a value is missing.
    """
    found, confidence = numbers(values, "values"), share(confidence, "confidence")
    places = np.unique(np.asarray(clusters), return_inverse=True)[1]
    sums, sizes = np.bincount(places, found), np.bincount(places)
    if len(sizes) < 2:
        return None, None
    drawn = np.random.default_rng(BOOTSTRAP_SEED).integers(0, len(sizes), (RESAMPLES, len(sizes)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def conformal_threshold(scores: ArrayLike, rate: float) -> float | None:
    """Return the score that a new episode exceeds with probability at most `rate`.

    `scores`: of n calibration episodes; missing ones are left out. Split conformal
    prediction: the ⌈(n + 1)(1 − rate)⌉-th smallest (Vovk et al. 2005). None if n is too
    small for `rate`. With n = 199 and rate 0.05 the false alarms of one calibration are
    mostly between 2 and 8 % (Beta(10, 190)); with 59, between 1 and 12 %.
    """
    values = numbers_or_missing(scores, "scores")
    found = np.sort(values[~np.isnan(values)])
    # (n + 1)(1 − rate) is not exact in binary; without the margin a whole number may round up.
    rank = math.ceil((len(found) + 1) * (1 - share(rate, "rate")) - 1e-9)
    return float(found[rank - 1]) if 1 <= rank <= len(found) else None


def auroc(clean: ArrayLike, perturbed: ArrayLike) -> float | None:
    """Return the probability that a perturbed score exceeds a clean one.

    A tie counts half. This is the Mann-Whitney statistic U over the number of pairs.
    Missing scores (None, NaN, NA) are left out; the result is None if a side has no
    score.
    """
    # Imported here, because scipy.stats takes 2 s to load and most commands do without it.
    from scipy.stats import rankdata

    below, above = (
        side[~np.isnan(side)]
        for side in (numbers_or_missing(clean, "clean"), numbers_or_missing(perturbed, "perturbed"))
    )
    if below.size == 0 or above.size == 0:
        return None
    ranks = rankdata(np.concatenate([above, below]))[: above.size]
    u = ranks.sum() - above.size * (above.size + 1) / 2
    return float(u / (above.size * below.size))
