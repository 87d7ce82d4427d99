"""Paired comparisons on the same episodes: counts, exact tests, intervals, Holm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from altbench.core.types import Int64
from altbench.stats.clustering import initial_poses
from altbench.stats.inputs import count, number, numbers, wholes
from altbench.stats.rates import countable, succeeded, wilson_interval


@dataclass(frozen=True)
class PairedCounts:
    """Counts of how the same episodes ended under two policies or in two runs.

    Whole numbers of any type become Python's integers, which no sum overflows.
    ValueError for anything else.
    """

    both: int
    only_first: int
    only_second: int
    neither: int

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            object.__setattr__(self, name, count(getattr(self, name), name))

    @classmethod
    def of(cls, first: NDArray[np.bool_], second: NDArray[np.bool_]) -> PairedCounts:
        """Count the outcomes, bool (pairs,), of the same episodes on two sides."""
        cases = (first & second, first & ~second, ~first & second, ~first & ~second)
        return cls(*(int(case.sum()) for case in cases))

    @property
    def total(self) -> int:
        """The number of pairs."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def difference(self) -> float:
        """The success rate of the second minus that of the first."""
        return (self.only_second - self.only_first) / self.total


def paired_counts(first: pd.DataFrame, second: pd.DataFrame, on: Sequence[str] = ("seed", "episode")) -> PairedCounts:
    """Count the outcomes of the countable episodes that `first` and `second` share.

    Two episodes are the same if they agree in the columns `on`.
    """
    sides = [countable(f).assign(success=succeeded(countable(f)))[[*on, "success"]] for f in (first, second)]
    pairs = sides[0].merge(sides[1], on=list(on), suffixes=("_first", "_second"), validate="one_to_one")
    return PairedCounts.of(pairs["success_first"].to_numpy(bool), pairs["success_second"].to_numpy(bool))


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Return the two-sided exact p of McNemar's test; 1 without discordant pairs.

    The discordant pairs are tested against a fair coin.
    """
    # The same number as scipy.stats.binomtest, whose module takes 2 s to import. `bdtr`
    # is the binomial distribution function.
    from scipy.special import bdtr

    first, second = count(only_first, "only_first"), count(only_second, "only_second")
    return min(1.0, 2 * float(bdtr(min(first, second), first + second, 0.5)))


def paired_differences(first: pd.DataFrame, second: pd.DataFrame, over: Sequence[str] = ("train_seed",)) -> Int64:
    """Return int64 (poses,): successes of `first` minus those of `second`.

    Only pairs that both policies have are summed: `over` names the columns (by default
    the training seed) that tell apart the repetitions of an episode. Episodes that
    begin from one pose (`clustering.initial_poses`) are summed as well.
    """
    pairs = _pairs(first, second, over)
    return pairs["change"].groupby(pairs["pose"]).sum().to_numpy(np.int64)


def paired_effect(first: pd.DataFrame, second: pd.DataFrame, over: Sequence[str] = ("train_seed",)) -> float:
    """Return the design effect of the pairs, by initial pose, for an interval.

    1 without pairs.
    """
    pairs = _pairs(first, second, over)
    if pairs.empty:
        return 1.0
    poses = pairs["change"].groupby(pairs["pose"]).agg(["sum", "count"])
    differ, total = int((pairs["change"] != 0).sum()), len(pairs)
    return change_effect(differ, total, poses["sum"].to_numpy(np.int64), poses["count"].to_numpy(np.int64))


def change_effect(differ: int, total: int, changes: Int64, sizes: Int64) -> float:
    """Return the variance of a paired difference over that of independent pairs.

    `differ` of `total` pairs ended differently; `changes` and `sizes`, (clusters,): the
    sum of the differences and the number of pairs of each cluster. The effect is kept
    between 1 and sum(sizes²) / total, where each cluster changes as a whole. The
    largest is taken if nothing changed.
    """
    most, mean, n = float((sizes**2).sum()) / total, float(changes.sum()) / total, len(sizes)
    variance = differ / total - mean**2
    if n < 2 or variance <= 0:
        return most
    between = n / (n - 1) * float(((changes - mean * sizes) ** 2).sum()) / total
    return float(np.clip(between / variance, 1.0, most))


def _pairs(first: pd.DataFrame, second: pd.DataFrame, over: Sequence[str]) -> pd.DataFrame:
    """Return a row per pair, with its `change` and the number of its initial `pose`."""
    on = [*over, "seed", "episode"]
    sides = [countable(f).assign(won=succeeded(countable(f)).astype(int)) for f in (first, second)]
    sides[0] = sides[0].assign(pose=initial_poses(sides[0]))
    pairs = sides[0][[*on, "won", "pose"]].merge(
        sides[1][[*on, "won"]], on=on, suffixes=("_first", "_second"), validate="one_to_one"
    )
    return pairs.assign(change=pairs["won_first"] - pairs["won_second"])


def sign_flip_exact(differences: ArrayLike) -> float:
    """Return the two-sided exact p of a paired permutation test (Fisher 1935).

    Without an effect, each of the whole-numbered `differences` might as well have the
    other sign. Their sum is compared with its distribution over all signs. If each is
    -1, 0 or 1, the result is that of `mcnemar_exact`.
    """
    found = wholes(differences, "differences")
    sizes = np.abs(found)
    chance = np.ones(1)  # the probability of each sum, from -reach to reach
    for size in sizes[sizes > 0]:
        chance = np.convolve(chance, [0.5, *np.zeros(2 * size - 1), 0.5])
    reach = len(chance) // 2
    extreme = abs(int(found.sum()))
    return min(1.0, 2 * float(chance[reach + extreme :].sum())) if extreme else 1.0


def paired_difference_interval(
    counts: PairedCounts, confidence: float = 0.95, effect: float = 1.0
) -> tuple[float, float]:
    """Return the interval of `counts.difference`.

    Newcombe (1998), Statistics in Medicine 17, 2635-2650, method 10. `effect`: the
    design effect of pairs that come in clusters; the counts are divided by it.
    """
    n, effect = counts.total, number(effect, "effect")
    if n == 0:
        raise ValueError("expected at least one pair, got none")
    rate1, rate2 = (counts.both + counts.only_first) / n, (counts.both + counts.only_second) / n
    (low1, high1), (low2, high2) = (
        wilson_interval((counts.both + counts.only_first) / effect, n / effect, confidence),
        wilson_interval((counts.both + counts.only_second) / effect, n / effect, confidence),
    )
    phi = _newcombe_phi(counts, effect)
    below = _square_and_add(rate2 - low2, high1 - rate1, phi)
    above = _square_and_add(high2 - rate2, rate1 - low1, phi)
    return max(-1.0, counts.difference - below), min(1.0, counts.difference + above)


def _newcombe_phi(counts: PairedCounts, effect: float = 1.0) -> float:
    """Return the correlation of the two outcomes as Newcombe's method 10 estimates it.

    phi = (ad - bc) / sqrt((a + b)(c + d)(a + c)(b + d)), with the paper's fourfold
    table a, b, c, d. If ad > bc, the numerator has a continuity correction and is
    max(ad - bc - n / 2, 0), which method 8 does not have. 0 if a margin is empty.
    Counts divided by `effect` give the same phi, with a correction `effect` times as
    large.
    """
    a, b, c, d = counts.both, counts.only_second, counts.only_first, counts.neither
    product = (a + b) * (c + d) * (a + c) * (b + d)
    if product == 0:
        return 0.0
    covariance = a * d - b * c
    corrected = max(covariance - effect * (a + b + c + d) / 2, 0.0) if covariance > 0 else float(covariance)
    return corrected / math.sqrt(product)


def _square_and_add(x: float, y: float, phi: float) -> float:
    """Return sqrt(x² - 2 phi x y + y²), the paper's delta and epsilon.

    These are the distances from the difference to its two limits. `x` and `y` are the
    distances from the two rates to their limits after Wilson.
    """
    return math.sqrt(max(0.0, x * x - 2 * phi * x * y + y * y))


def holm(p_values: ArrayLike) -> list[float]:
    """Return Holm's step-down adjusted p values, in the given order (Holm 1979).

    ValueError for a p that is missing or not between 0 and 1.
    """
    raw: list[float] = numbers(p_values, "p_values").tolist()
    if any(not 0 <= p <= 1 for p in raw):
        raise ValueError(f"p_values: expected numbers from 0 to 1, got {min(raw):g} to {max(raw):g}")
    adjusted, running, m = [0.0] * len(raw), 0.0, len(raw)
    for rank, index in enumerate(sorted(range(m), key=lambda i: raw[i])):
        running = max(running, (m - rank) * raw[index])
        adjusted[index] = min(1.0, running)
    return adjusted


@dataclass(frozen=True)
class PairedTest:
    """A test of one policy against another on the `pairs` episodes that both played.

    An episode that several training seeds play counts once. `clusters`: the initial
    poses of these episodes, whose number bounds p. `gain`: how many successes more the
    first has. `p`: corrected after Holm.
    """

    pairs: int
    gain: int
    p: float
    clusters: int


def paired_tests(
    own: pd.DataFrame, others: Sequence[pd.DataFrame], over: Sequence[str] = ("train_seed",)
) -> list[PairedTest]:
    """Test `own` against each of `others` on the same episodes.

    The test is `sign_flip_exact` of `paired_differences`; its p values are corrected
    after Holm over all `others`.
    """
    compared = [_pairs(own, other, over) for other in others]
    differences = [pairs["change"].groupby(pairs["pose"]).sum().to_numpy(np.int64) for pairs in compared]
    corrected = holm([sign_flip_exact(d) for d in differences])
    episodes = [len(pairs[["seed", "episode"]].drop_duplicates()) for pairs in compared]
    return [PairedTest(n, int(d.sum()), p, len(d)) for n, d, p in zip(episodes, differences, corrected, strict=True)]


def family_tests(own: pd.DataFrame, others: Sequence[pd.DataFrame], family: str) -> list[PairedTest]:
    """Test `own` against each of `others` with families of episodes as the unit.

    The exact test flips the sign of each family's difference, so that it is about other
    families of the kind, and p is at least 2 / 2^families. `family`: a column, such as
    the perturbation. p values are corrected after Holm over all `others`.
    """
    compared = [_pairs(own, other, ("train_seed", family)) for other in others]
    differences = [pairs["change"].groupby(pairs[family]).sum().to_numpy(np.int64) for pairs in compared]
    corrected = holm([sign_flip_exact(d) for d in differences])
    episodes = [len(pairs[["seed", "episode"]].drop_duplicates()) for pairs in compared]
    return [PairedTest(n, int(d.sum()), p, len(d)) for n, d, p in zip(episodes, differences, corrected, strict=True)]
