"""Detectors of strange keys, and how good they are.

They are the lookup's own similarity, the distance to the k-th nearest neighbour, and
the Mahalanobis distance. A stranger key has a higher score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from altbench.core.types import Float32, Float64
from altbench.stats.scores import auroc

Scorer = Callable[[Float32], Float64]
"""Maps keys (M, D) to scores (M,)."""

NEIGHBOURS = 10
"""The k of the k-NN detector: its score is the distance to the k-th nearest key."""
SHRINKAGE = 0.1
"""Weight of a spherical covariance that is mixed into the keys' own.

Keys have nearly as many dimensions as there are training frames, so that their
covariance alone could not be inverted.
"""
DETECTION = 0.95
"""Share of the strange episodes to detect, at which false alarms are counted."""
RESAMPLES = 1000
"""Bootstrap resamples of an AUROC's interval."""


@dataclass(frozen=True)
class Detector:
    """A detector: `fit` makes a scorer from training keys (M, D), each of length 1."""

    name: str
    what: str
    fit: Callable[[Float32], Scorer]


def _lookup(training: Float32) -> Scorer:
    return lambda keys: np.asarray(1.0 - (keys @ training.T).max(axis=1), np.float64)


def _neighbours(training: Float32) -> Scorer:
    """Score by the distance to the k-th nearest training key (Sun et al. 2022)."""
    k = min(NEIGHBOURS, len(training))

    def score(keys: Float32) -> Float64:
        # Keys have length 1, so that |a - b|² = 2 - 2 a·b.
        kth = np.partition(keys @ training.T, -k, axis=1)[:, -k]
        distance: Float64 = np.sqrt(np.maximum(2.0 - 2.0 * kth.astype(np.float64), 0.0))
        return distance

    return score


def _mahalanobis(training: Float32) -> Scorer:
    """Score by the distance from a Gaussian fitted to all training keys.

    Source: Lee et al. 2018, with one class. The covariance is shrunk.
    """
    keys = training.astype(np.float64)
    mean, covariance = keys.mean(axis=0), np.cov(keys, rowvar=False)
    size = len(mean)
    shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.trace(covariance) / size * np.eye(size)
    precision = np.linalg.inv(shrunk)

    def score(new: Float32) -> Float64:
        gap = new.astype(np.float64) - mean
        distance: Float64 = np.sqrt(np.maximum(((gap @ precision) * gap).sum(axis=1), 0.0))
        return distance

    return score


DETECTORS = (
    Detector("lookup", "1 − highest cosine similarity, ALT's own score", _lookup),
    Detector("k-NN", f"distance to the {NEIGHBOURS}th nearest training key", _neighbours),
    Detector("Mahalanobis", "distance from a Gaussian of the training keys", _mahalanobis),
)


def calibrated(detector: Detector, demonstrations: Sequence[Float32], every: int, rate: float) -> float:
    """Return the threshold that few new demonstrations exceed: at most `rate`.

    It is ALT's own rule. Each demonstration's keys (T, D) are scored, `every` frames
    apart, by a detector fitted to all others. The threshold is the conformal quantile
    of their highest scores, or the largest if there are too few for `rate`; inf for
    fewer than two demonstrations. The rate is nominal: the keys were trained on these
    demonstrations too.
    """
    if len(demonstrations) < 2:
        return math.inf
    highest = []
    for i, keys in enumerate(demonstrations):
        others = np.concatenate([k for j, k in enumerate(demonstrations) if j != i])
        highest.append(float(detector.fit(others)(keys[::every]).max()))
    # Without the small number, rounding in the product could raise the rank by one.
    rank = min(len(highest), math.ceil((len(highest) + 1) * (1 - rate) - 1e-9))
    return sorted(highest)[rank - 1]


def false_alarms_at_detection(clean: ArrayLike, strange: ArrayLike, share: float = DETECTION) -> tuple[int, int]:
    """Count the clean episodes flagged when `share` of the strange ones are flagged.

    Return that count and the number of clean episodes.
    """
    below, above = np.asarray(clean, np.float64), np.sort(np.asarray(strange, np.float64))[::-1]
    if above.size == 0:
        return 0, 0
    threshold = above[math.ceil(share * above.size) - 1]
    return int((below >= threshold).sum()), int(below.size)


def auroc_interval(clean: Float64, strange: Float64) -> tuple[float, float, float] | None:
    """Return the AUROC with its 95 % bootstrap interval over episodes.

    Percentile interval, with a fixed seed. None if a side is empty.
    """
    value = auroc(clean, strange)
    if value is None:
        return None
    rng = np.random.default_rng(0)
    found = []
    for _ in range(RESAMPLES):
        one = clean[rng.integers(len(clean), size=len(clean))]
        other = strange[rng.integers(len(strange), size=len(strange))]
        found.append(auroc(one, other))
    low, high = np.quantile(np.array(found, np.float64), [0.025, 0.975])
    return value, float(low), float(high)
