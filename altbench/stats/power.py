"""Power of the paired tests: which drop would have been seen."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from altbench.core.types import Float64
from altbench.stats.inputs import number, share, whole


def fewest_losses(alpha: float) -> int:
    """Return how many losses without a gain are significant, one-sided, at `alpha`."""
    return math.ceil(-math.log2(share(alpha, "alpha")))


def detectable_drop(n: int, churn: float, alpha: float, power: float = 0.8) -> float | None:
    """Return the smallest drop of the success rate that is seen with probability `power`.

    The test is the one-sided exact sign test of `n` independent pairs at level `alpha`.
    `churn`: the probability that a pair is lost by chance; it is gained as often. None
    if even the largest possible drop is missed more often.
    """
    return _drop(whole(n, "n"), number(churn, "churn"), share(alpha, "alpha"), share(power, "power"))


@lru_cache(maxsize=4096)
def _drop(n: int, churn: float, alpha: float, power: float) -> float | None:
    largest = 1 - 2 * churn
    if n < 1 or largest <= 0 or _power(n, churn, largest, alpha) < power:
        return None
    low, high = 0.0, largest
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if _power(n, churn, middle, alpha) >= power else (middle, high)
    return high


def _power(n: int, churn: float, drop: float, alpha: float) -> float:
    """Return the probability that the test sees `drop`."""
    from scipy.special import bdtr

    changed = 2 * churn + drop
    pairs = np.arange(n + 1)
    gains = _most_gains(n, alpha)
    seen = np.where(gains >= 0, bdtr(np.maximum(gains, 0), pairs, min(1.0, churn / changed)), 0.0)
    return float((_binomial(n, min(1.0, changed)) * seen).sum())


def _binomial(n: int, rate: float) -> Float64:
    """Return float64 (n + 1,): the binomial probabilities of 0 to n."""
    from scipy.special import gammaln, xlog1py, xlogy

    k = np.arange(n + 1)
    ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    found: Float64 = np.exp(ways + xlogy(k, rate) + xlog1py(n - k, -rate))
    return found


@lru_cache(maxsize=256)
def _most_gains(n: int, alpha: float) -> Float64:
    """Return (n + 1,): the most gains among m changed pairs that are significant.

    -1: not even none.
    """
    from scipy.special import bdtr

    found, gains = np.empty(n + 1), -1
    for changed in range(n + 1):
        while gains + 1 <= changed and bdtr(gains + 1, changed, 0.5) <= alpha:
            gains += 1
        found[changed] = gains
    return found
