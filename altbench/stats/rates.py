"""Rates with intervals, paired tests and ranks: the closed forms behind every number that is reported."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from altbench.core.types import Float64
from altbench.rollout.records import NOT_COUNTED

SPLITS = ("replay", "recall", "uniform", "interpolate", "extrapolate_side", "extrapolate_back")
RANKED_FROM = 50
"""Fewer episodes than this are shown with their interval, but never ranked."""


@dataclass(frozen=True)
class Rate:
    """`successes` of `episodes`, with the interval [low, high]; the three fractions are None without episodes.

    `seeds`: the rate of each training seed, where episodes were played with several.
    """

    successes: int
    episodes: int
    value: float | None
    low: float | None
    high: float | None
    seeds: tuple[float, ...] = ()


def wilson_interval(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a binomial rate, without continuity correction (Wilson 1927); ValueError for n < 1.

    Counts may be effective ones, which are not whole.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n and n >= 1, got {successes} of {n}")
    successes, n = float(successes), float(n)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def rate_of(successes: int, episodes: int, confidence: float = 0.95) -> Rate:
    """`successes` of `episodes` with Wilson's interval, or an empty rate without episodes."""
    if episodes == 0:
        return Rate(0, 0, None, None, None)
    low, high = wilson_interval(successes, episodes, confidence)
    return Rate(int(successes), int(episodes), float(successes / episodes), low, high)


def clustered_interval(successes: ArrayLike, trials: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of the pooled rate where trials come in clusters: cluster i has `successes[i]` of `trials[i]` (>= 1).

    Wilson's interval of the effective counts, which are the counts over the design effect (Rao and Scott 1992,
    Biometrics 48): how many times the rate's variance between clusters is what it were with independent trials. It is
    kept between 1 (independent) and sum(trials²) / sum(trials) (a cluster's trials all end alike), which it is taken to be
    where all trials end alike. With one trial a cluster this is `wilson_interval`.
    """
    hits, sizes = np.asarray(successes, np.float64), np.asarray(trials, np.float64)
    effect = _design_effect(hits, sizes)
    return wilson_interval(hits.sum() / effect, sizes.sum() / effect, confidence)


def _design_effect(hits: Float64, sizes: Float64) -> float:
    total, n = sizes.sum(), len(sizes)
    rate, most = hits.sum() / total, float((sizes * sizes).sum() / total)
    if n < 2 or rate in (0.0, 1.0):
        return most
    variance = n / (n - 1) * ((hits - rate * sizes) ** 2).sum() / total**2
    return float(np.clip(variance / (rate * (1 - rate) / total), 1.0, most))


def countable(frame: pd.DataFrame) -> pd.DataFrame:
    """The episodes that count: all but those `NOT_COUNTED`, which say nothing about the policy."""
    return frame[~frame["status"].isin(NOT_COUNTED)]


def ranked(frame: pd.DataFrame) -> bool:
    """Whether `frame` has enough episodes to rank it; one that several training seeds play is one."""
    return len(countable(frame)[["seed", "episode"]].drop_duplicates()) >= RANKED_FROM


def succeeded(frame: pd.DataFrame) -> pd.Series[bool]:
    """Per episode whether it succeeded; a policy's error or time-out and a diverged simulation are failures."""
    return frame["success"].astype(bool) & (frame["status"] == "ok")


def split_order(splits: pd.Series[str]) -> pd.Series[str]:
    """A key to sort `splits` by: from what was shown, over what lies between, to what lies beyond; others follow.

    A split with an event (`recall+move15by0.08`) comes after the split itself.
    """
    known = {split: f"{i}" for i, split in enumerate(SPLITS)}
    return splits.map(lambda split: known.get(split.partition("+")[0], "~") + split)


def success_rate(frame: pd.DataFrame, confidence: float = 0.95) -> Rate:
    """Success over the episodes of `frame` that count.

    An episode that comes several times, as training seeds and perturbations share episodes, is a cluster of
    `clustered_interval`. The interval is of these seeds and perturbations on other episodes; `Rate.seeds` shows how seeds
    differ.
    """
    counted = countable(frame)
    won = succeeded(counted)
    found = rate_of(int(won.sum()), len(counted), confidence)
    episode = [name for name in ("task", "seed", "episode") if name in counted]
    if "episode" not in episode or not counted.duplicated(episode).any():
        return found
    clusters = won.groupby([counted[name] for name in episode]).agg(["sum", "count"])
    low, high = clustered_interval(clusters["sum"], clusters["count"], confidence)
    several = "train_seed" in counted and counted["train_seed"].nunique() > 1
    seeds = tuple(float(rate) for rate in won.groupby(counted["train_seed"]).mean()) if several else ()
    return dataclasses.replace(found, low=low, high=high, seeds=seeds)


def success_rates(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """One row per group of `by`, in order, with columns successes, episodes, rate, low, high (NaN without episodes)."""
    rows = []
    for values, group in frame.groupby(list(by), sort=True):
        found = success_rate(group)
        rows.append((*values, found.successes, found.episodes, found.value, found.low, found.high))
    table = pd.DataFrame(rows, columns=[*by, "successes", "episodes", "rate", "low", "high"])
    return table.astype({"rate": float, "low": float, "high": float})
