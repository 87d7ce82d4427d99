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

from altbench.api import Float64, Int64
from altbench.records import NOT_COUNTED

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


@dataclass(frozen=True)
class PairedCounts:
    """Outcomes of the same episodes under two policies or in two runs."""

    both: int
    only_first: int
    only_second: int
    neither: int

    @property
    def total(self) -> int:
        """Number of pairs."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def difference(self) -> float:
        """Rate of the second minus rate of the first."""
        return (self.only_second - self.only_first) / self.total


def wilson_interval(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a binomial rate, without continuity correction (Wilson 1927); ValueError for n < 1.

    Counts may be effective ones, which are not whole.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n and n >= 1, got {successes} of {n}")
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
    return Rate(successes, episodes, successes / episodes, low, high)


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


def paired_counts(first: pd.DataFrame, second: pd.DataFrame, on: Sequence[str] = ("seed", "episode")) -> PairedCounts:
    """Outcomes of the countable episodes that `first` and `second` share by `on`."""
    sides = [countable(f).assign(success=succeeded(countable(f)))[[*on, "success"]] for f in (first, second)]
    pairs = sides[0].merge(sides[1], on=list(on), suffixes=("_first", "_second"), validate="one_to_one")
    a, b = pairs["success_first"].to_numpy(bool), pairs["success_second"].to_numpy(bool)
    return PairedCounts(int((a & b).sum()), int((a & ~b).sum()), int((~a & b).sum()), int((~a & ~b).sum()))


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided exact p of McNemar's test: the discordant pairs against a fair coin (1 without any)."""
    n, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(n, i) for i in range(fewer + 1))
    return min(1.0, 2 * tail / (1 << n))


def paired_differences(first: pd.DataFrame, second: pd.DataFrame, over: Sequence[str] = ("train_seed",)) -> Int64:
    """Per episode that two policies share: successes of `first` minus those of `second`, over what both have of `over`."""
    on = [*over, "seed", "episode"]
    sides = [countable(f).assign(won=succeeded(countable(f)).astype(int))[[*on, "won"]] for f in (first, second)]
    pairs = sides[0].merge(sides[1], on=on, suffixes=("_first", "_second"), validate="one_to_one")
    differences = (pairs["won_first"] - pairs["won_second"]).groupby([pairs["seed"], pairs["episode"]]).sum()
    return differences.to_numpy(np.int64)


def sign_flip_exact(differences: ArrayLike) -> float:
    """Two-sided exact p of a paired permutation test (Fisher 1935): each whole difference might as well have the other sign.

    The sum of `differences` against its distribution over all signs. Where each is -1, 0 or 1, this is `mcnemar_exact`.
    """
    sizes = np.abs(np.asarray(differences, np.int64))
    chance = np.ones(1)  # of each sum, from -reach to reach
    for size in sizes[sizes > 0]:
        chance = np.convolve(chance, [0.5, *np.zeros(2 * size - 1), 0.5])
    reach = len(chance) // 2
    extreme = abs(int(np.sum(differences)))
    return min(1.0, 2 * float(chance[reach + extreme :].sum())) if extreme else 1.0


def paired_difference_interval(counts: PairedCounts, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of `counts.difference`: Newcombe (1998), Statistics in Medicine 17, method 10."""
    n = counts.total
    (low1, high1), (low2, high2) = (
        wilson_interval(counts.both + counts.only_first, n, confidence),
        wilson_interval(counts.both + counts.only_second, n, confidence),
    )
    rate1, rate2 = (counts.both + counts.only_first) / n, (counts.both + counts.only_second) / n
    phi = _newcombe_phi(counts)
    below = _square_and_add(rate2 - low2, high1 - rate1, phi)
    above = _square_and_add(high2 - rate2, rate1 - low1, phi)
    return max(-1.0, counts.difference - below), min(1.0, counts.difference + above)


def _newcombe_phi(counts: PairedCounts) -> float:
    a, b, c, d = counts.both, counts.only_second, counts.only_first, counts.neither
    product = (a + b) * (c + d) * (a + c) * (b + d)
    if product == 0:
        return 0.0
    covariance = a * d - b * c
    corrected = max(covariance - counts.total / 2, 0.0) if covariance > 0 else float(covariance)
    return corrected / math.sqrt(product)


def _square_and_add(x: float, y: float, phi: float) -> float:
    return math.sqrt(max(0.0, x * x - 2 * phi * x * y + y * y))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the given order (Holm 1979)."""
    adjusted, running, m = [0.0] * len(p_values), 0.0, len(p_values)
    for rank, index in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        running = max(running, (m - rank) * p_values[index])
        adjusted[index] = min(1.0, running)
    return adjusted


@dataclass(frozen=True)
class PairedTest:
    """A policy against another on the `pairs` episodes that both played: `gain` successes more, and the test's `p`."""

    pairs: int
    gain: int
    p: float


def paired_tests(
    own: pd.DataFrame, others: Sequence[pd.DataFrame], over: Sequence[str] = ("train_seed",)
) -> list[PairedTest]:
    """`own` against each of `others` on the same episodes: `sign_flip_exact` of `paired_differences`, Holm-corrected."""
    differences = [paired_differences(own, other, over) for other in others]
    corrected = holm([sign_flip_exact(d) for d in differences])
    return [PairedTest(len(d), int(d.sum()), p) for d, p in zip(differences, corrected, strict=True)]


def auroc(clean: ArrayLike, perturbed: ArrayLike) -> float | None:
    """Probability that a perturbed score exceeds a clean one, ties counting half; None where a side has no score."""
    below, above = (np.asarray(side, np.float64) for side in (clean, perturbed))
    below, above = np.sort(below[~np.isnan(below)]), above[~np.isnan(above)]
    if below.size == 0 or above.size == 0:
        return None
    less, not_more = np.searchsorted(below, above, "left"), np.searchsorted(below, above, "right")
    return float((less + not_more).sum() / (2 * below.size * above.size))
