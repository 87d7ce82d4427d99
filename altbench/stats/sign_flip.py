"""One-sided paired permutation tests over clusters, and which tests can decide."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import ArrayLike

from altbench.core.types import Float64
from altbench.stats.inputs import number, numbers, wholes


def sign_flip_less(differences: ArrayLike) -> float:
    """Return the one-sided exact p of a paired permutation test (Fisher 1935).

    Each of the whole-numbered `differences` belongs to one cluster of pairs. Without an
    effect, each might as well have the other sign. The result is the probability, over
    all signs, of a sum as low as theirs or lower. Pairs within a cluster may depend on
    each other in any way. If each is -1, 0 or 1, this is McNemar's one-sided exact test.
    """
    found = wholes(differences, "differences")
    sizes = Counter(np.abs(found[found != 0]).tolist())
    total = sum(size * count for size, count in sizes.items())
    at_most = (total + int(found.sum())) // 2
    return min(1.0, float(_chance_of_sums(sizes)[: at_most + 1].sum()))


def lowest_p(differences: ArrayLike) -> float:
    """Return the p that `sign_flip_less` would give if all signs were negative.

    It depends on the sizes alone. Signs that are due to chance therefore cannot
    influence a decision that rests on it.
    """
    return float(0.5 ** int(np.count_nonzero(wholes(differences, "differences"))))


def can_decide(lowest: ArrayLike, alpha: float) -> list[bool]:
    """Return which of several tests could be significant at all (after Tarone 1990).

    `lowest`: each test's lowest possible p. The k tests with the lowest are kept, for
    the largest k at which each of them is at most alpha / k. The others leave the
    correction: they could not be significant whatever their outcome.
    """
    each, alpha = numbers(lowest, "lowest").tolist(), number(alpha, "alpha")
    order = sorted(range(len(each)), key=lambda i: each[i])
    kept = max((k for k, i in enumerate(order, 1) if each[i] <= alpha / k), default=0)
    chosen = set(order[:kept])
    return [i in chosen for i in range(len(each))]


def _chance_of_sums(sizes: Counter[int]) -> Float64:
    """Return float64 (total + 1,): the probability of each sum of the positive parts.

    `sizes`: size -> number of clusters. All terms are positive, so that small
    probabilities keep their relative precision.
    """
    chance = np.ones(1)
    # Large sizes first, since they are few: the array grows late.
    for size in sorted(sizes, reverse=True):
        longer = np.zeros(len(chance) + size * sizes[size])
        for k, share in enumerate(_coin_flips(sizes[size])):
            longer[k * size : k * size + len(chance)] += share * chance
        chance = longer
    return chance


def _coin_flips(n: int) -> list[float]:
    """Return the binomial probabilities of 0 to n heads, each correctly rounded."""
    ways, found = 1, []
    for k in range(n + 1):
        found.append(ways / (1 << n))  # of Python's integers: neither side overflows
        ways = ways * (n - k) // (k + 1)
    return found
