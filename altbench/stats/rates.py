"""Success rates with intervals, and which episodes count in them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from altbench.core.types import Float64, Int64
from altbench.rollout.records import MISSING, NOT_COUNTED
from altbench.stats.clustering import initial_poses
from altbench.stats.inputs import count, number, numbers, outcomes, share

RANKED_FROM = 50
"""The fewest episodes that are ranked; with fewer, only rate and interval are shown.

With 50, an interval is up to 27 percentage points wide.
"""


@dataclass(frozen=True)
class Rate:
    """A rate, `successes` of `episodes`, with its interval [`low`, `high`].

    `value`, `low` and `high` are None without episodes. `seeds`: the rate of each
    training seed, if there are several. `missing`: how many episodes more should count
    and could not be played.
    """

    successes: int
    episodes: int
    value: float | None
    low: float | None
    high: float | None
    seeds: tuple[float, ...] = ()
    missing: int = 0


def wilson_interval(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a binomial rate (Wilson 1927).

    It has no continuity correction. Counts need not be whole: effective counts are not.
    Raises ValueError for n < 1 and for impossible counts.
    """
    successes, n, confidence = number(successes, "successes"), number(n, "n"), share(confidence, "confidence")
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n and n >= 1, got {successes:g} of {n:g}")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def rate_of(successes: int, episodes: int, confidence: float = 0.95) -> Rate:
    """Return `successes` of `episodes` with Wilson's interval; empty for 0 of 0."""
    successes, episodes = count(successes, "successes"), count(episodes, "episodes")
    if episodes == 0 and successes == 0:
        return Rate(0, 0, None, None, None)
    low, high = wilson_interval(successes, episodes, confidence)
    return Rate(successes, episodes, successes / episodes, low, high)


def clustered_interval(successes: ArrayLike, trials: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of the pooled rate of trials that come in clusters.

    Cluster i has `successes[i]` of `trials[i]` (>= 1). The interval is Wilson's, of the
    effective counts: the counts divided by the design effect (Rao and Scott 1992,
    Biometrics 48). The design effect is the variance of the rate between clusters over
    the variance that independent trials would have. It is kept between 1 (independent
    trials) and sum(trials²) / sum(trials) (the trials of each cluster all end alike).
    If all trials of all clusters end alike, the larger value is taken. The effective
    counts are then multiplied by (t of them / t of the clusters)², since a variance
    that few clusters tell is known badly (after Korn and Graubard 1998). With one trial
    in each cluster the result is that of `wilson_interval`. ValueError for counts that
    cannot be.
    """
    hits, sizes = numbers(successes, "successes"), numbers(trials, "trials")
    if len(hits) != len(sizes) or not len(sizes) or (sizes < 1).any() or (hits < 0).any() or (hits > sizes).any():
        raise ValueError(
            "expected one count of successes and one of trials per cluster, 0 <= successes <= trials and trials >= 1"
        )
    return _interval([(hits, sizes)], confidence)


def clustered_rate(won: ArrayLike, *ways: ArrayLike, confidence: float = 0.95) -> Rate:
    """Return the rate of trials that come in clusters, in one way or crosswise in several.

    `won`: whether each trial succeeded, (n,). Each of `ways`, (n,), names the cluster of
    each trial. All of them are random: the interval is about other clusters of each kind.
    It is that of `clustered_interval`, whose design effect is the sum of the ways', less
    one for each further way (the variances of two-way clusters: Cameron, Gelbach and
    Miller 2011). Empty without trials.
    """
    found = numbers(won, "won")
    rate = rate_of(int(found.sum()), len(found), confidence)
    if not len(found):
        return rate
    places = [pd.factorize(np.asarray(way))[0] for way in ways]
    ones = np.ones(len(found))
    low, high = _interval([(_sums(found, place), _sums(ones, place)) for place in places], confidence)
    return dataclasses.replace(rate, low=low, high=high)


def _sums(values: Float64, places: Int64) -> Float64:
    return np.bincount(places, values).astype(np.float64)


def _interval(ways: Sequence[tuple[Float64, Float64]], confidence: float) -> tuple[float, float]:
    """Return Wilson's interval of the effective counts; `ways`: hits and sizes of each way's clusters."""
    hits, total = ways[0][0].sum(), ways[0][1].sum()
    effect = sum(_design_effect(h, s) for h, s in ways) - (len(ways) - 1)
    n = max(1.0, total / effect)
    n = max(1.0, n * _known(n, min(len(sizes) for _, sizes in ways), confidence))
    return wilson_interval(hits / total * n, n, confidence)


def _known(n: float, clusters: int, confidence: float) -> float:
    """Return the share of `n` effective trials that so many clusters leave."""
    if clusters < 2 or n <= clusters:
        return 1.0
    # The same number as scipy.stats.t.ppf, whose module takes 2 s to import.
    from scipy.special import stdtrit

    tail = 0.5 + confidence / 2
    return float((stdtrit(n - 1, tail) / stdtrit(clusters - 1, tail)) ** 2)


def _design_effect(hits: Float64, sizes: Float64) -> float:
    total, n = sizes.sum(), len(sizes)
    rate, most = hits.sum() / total, float((sizes * sizes).sum() / total)
    if n < 2 or rate in (0.0, 1.0):
        # The variance between clusters is 0 or undefined here. An effect of 1 would follow,
        # as if every training seed were a new episode, which narrows the interval for free.
        return most
    variance = n / (n - 1) * ((hits - rate * sizes) ** 2).sum() / total**2
    return float(np.clip(variance / (rate * (1 - rate) / total), 1.0, most))


def countable(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the episodes that count.

    The statuses in `NOT_COUNTED` say nothing about the policy. ValueError if a status
    is missing.
    """
    if frame["status"].isna().any():
        raise ValueError("column status: expected a status in every row, but some are missing")
    return frame[~frame["status"].isin(NOT_COUNTED)]


def missing(frame: pd.DataFrame) -> int:
    """Return how many episodes of `frame` should count and could not be played."""
    return int((frame["status"] == MISSING).sum())


def ranked(frame: pd.DataFrame) -> bool:
    """Return whether `frame` has enough episodes to be ranked, and lacks none.

    An episode that several training seeds play counts once.
    """
    return not missing(frame) and len(countable(frame)[["seed", "episode"]].drop_duplicates()) >= RANKED_FROM


def succeeded(frame: pd.DataFrame) -> pd.Series[bool]:
    """Return whether each episode succeeded.

    A policy's error or time-out and a diverged simulation are failures. ValueError if an
    outcome is missing.
    """
    return outcomes(frame["success"], "success") & (frame["status"] == "ok").astype(bool)


def success_rate(frame: pd.DataFrame, confidence: float = 0.95) -> Rate:
    """Return the success rate over the episodes of `frame` that count.

    Training seeds and perturbations share episodes, and episodes share initial poses.
    All rows of one pose are one cluster of `clustered_interval`. The interval is about
    these seeds and perturbations on other poses; `Rate.seeds` shows how the seeds
    differ.
    """
    counted = countable(frame)
    won = succeeded(counted)
    # Bare counts have no poses: each trial is a cluster of its own.
    poses = initial_poses(counted) if "episode" in counted else np.arange(len(counted))
    found = clustered_rate(won, poses, confidence=confidence)
    several = "train_seed" in counted and counted["train_seed"].nunique() > 1
    seeds = tuple(float(rate) for rate in won.groupby(counted["train_seed"]).mean()) if several else ()
    return dataclasses.replace(found, seeds=seeds, missing=missing(frame))


def crossed_rate(frame: pd.DataFrame, family: str, confidence: float = 0.95) -> Rate:
    """Return the success rate of episodes that share poses and, crosswise, a `family`.

    Both are random: the interval is about other poses and other families of the kind
    (`clustered_rate`). `family`: a column of `frame`.
    """
    counted = countable(frame)
    found = clustered_rate(succeeded(counted), initial_poses(counted), counted[family], confidence=confidence)
    return dataclasses.replace(found, missing=missing(frame))


def success_rates(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return one row for each group of the columns `by`, sorted by them.

    Further columns: successes, episodes, rate, low, high (NaN without episodes), and how
    many episodes more are missing.
    """
    rows = []
    for values, group in frame.groupby(list(by), sort=True):
        found = success_rate(group)
        rows.append((*values, found.successes, found.episodes, found.value, found.low, found.high, found.missing))
    table = pd.DataFrame(rows, columns=[*by, "successes", "episodes", "rate", "low", "high", "missing"])
    return table.astype({"rate": float, "low": float, "high": float})
