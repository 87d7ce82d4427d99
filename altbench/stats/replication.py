"""Success over several data sets: how they differ, and what that leaves to know."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from altbench.core.types import Float64
from altbench.stats.clustering import initial_poses
from altbench.stats.inputs import share
from altbench.stats.rates import clustered_interval, countable, succeeded

DRAWS = 2_000
"""Samples of the bootstrap: its limits are then sure to about half a point."""


@dataclass(frozen=True)
class Replicated:
    """A success rate over data sets.

    `rate`: the mean of the data sets' rates. `low`, `high`: its interval, None for one
    data set. `by_data`: data seed -> rate. `data_sd`: standard deviation of `by_data`.
    `train_sd`: standard deviation of the training seeds' rates within a data set (root
    mean square over data sets). A deviation of fewer than two is None.
    """

    rate: float
    low: float | None
    high: float | None
    by_data: dict[int, float]
    data_sd: float | None
    train_sd: float | None
    episodes: int


def replicated_rate(frame: pd.DataFrame, confidence: float = 0.95) -> Replicated | None:
    """Return success over the data sets of `frame`, which a column `data_seed` tells apart.

    `frame`: episodes of one row and one condition, as `results.load_episodes` returns
    them. None if none of them counts. The interval is that of a hierarchical bootstrap:
    data sets are drawn with replacement, then the initial poses within each. All
    episodes of a pose, of every training seed, are drawn together. It is widened to that
    of all data sets' poses taken together (`clustered_interval`): a bootstrap of episodes
    that all end alike has no width.

    With few data sets it is too narrow if they differ much. By simulation (30 poses,
    two episodes each) its 95 % hold the truth in 97 % of cases if three data sets do not
    differ, in 93 % if they differ by 0.3 (standard deviation, log odds) and in 82 % by
    0.8; two data sets in 97, 89 and 75 %. These are of rates about 0.6. At 0.97, where data
    sets that differ as much in log odds differ little in rates, three hold it in 100 and
    94 % (by 0 and 0.8), two in 100 and 98 %; the bootstrap alone would in 95, 89, 96 and 78.
    """
    counted = countable(frame)
    if counted.empty:
        return None
    won = succeeded(counted)
    rates = {int(str(seed)): float(rate) for seed, rate in won.groupby(counted["data_seed"]).mean().items()}
    low, high = _interval(counted, won, share(confidence, "confidence")) if len(rates) > 1 else (None, None)
    return Replicated(
        float(np.mean(list(rates.values()))),
        low,
        high,
        rates,
        _sd(list(rates.values())),
        _train_sd(counted, won),
        len(won),
    )


def _interval(counted: pd.DataFrame, won: pd.Series[bool], confidence: float) -> tuple[float, float]:
    sets = [_poses(counted.loc[part.index], part) for _, part in won.groupby(counted["data_seed"])]
    # A fixed seed: the same records give the same table.
    rng = np.random.default_rng(0)
    # Each data set's rate in DRAWS samples of its poses; a data set that is drawn twice has two samples.
    drawn = rng.integers(0, len(sets), (DRAWS, len(sets)))
    means = np.zeros(DRAWS)
    for place in range(len(sets)):
        for chosen, (hits, sizes) in enumerate(sets):
            own = np.flatnonzero(drawn[:, place] == chosen)
            poses = rng.integers(0, len(hits), (len(own), len(hits)))
            means[own] += hits[poses].sum(axis=1) / sizes[poses].sum(axis=1) / len(sets)
    low, high = np.quantile(means, [0.5 - confidence / 2, 0.5 + confidence / 2])
    together = [np.concatenate(counts) for counts in zip(*sets, strict=True)]
    least, most = clustered_interval(together[0], together[1], confidence)
    return min(float(low), least), max(float(high), most)


def _poses(counted: pd.DataFrame, won: pd.Series[bool]) -> tuple[Float64, Float64]:
    """Return the successes and the episodes of each initial pose of a data set."""
    found = won.groupby(initial_poses(counted)).agg(["sum", "count"])
    return found["sum"].to_numpy(np.float64), found["count"].to_numpy(np.float64)


def _train_sd(counted: pd.DataFrame, won: pd.Series[bool]) -> float | None:
    rates = won.groupby([counted["data_seed"], counted["train_seed"]]).mean()
    variances = rates.groupby(level=0).var(ddof=1).dropna()
    return float(np.sqrt(variances.mean())) if len(variances) else None


def _sd(values: list[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
