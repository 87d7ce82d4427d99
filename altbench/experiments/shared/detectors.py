"""Detectors of strange keys: the lookup's own similarity, k-nearest-neighbour distance, Mahalanobis distance; and how good
they are. A score is higher where a key is stranger.
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
"""Keys (M, D) -> scores (M,)."""

NEIGHBOURS = 10
SHRINKAGE = 0.1
"""Share of the mean variance that is added to every direction, since keys have nearly as many as there are frames."""
DETECTED = 0.95
RESAMPLES = 1000


@dataclass(frozen=True)
class Detector:
    """`fit` makes a scorer of training keys (M, D), each of length 1."""

    name: str
    what: str
    fit: Callable[[Float32], Scorer]


def _lookup(training: Float32) -> Scorer:
    return lambda keys: np.asarray(1.0 - (keys @ training.T).max(axis=1), np.float64)


def _neighbours(training: Float32) -> Scorer:
    """Distance to the k-th nearest training key (Sun et al. 2022); keys have length 1."""
    k = min(NEIGHBOURS, len(training))

    def score(keys: Float32) -> Float64:
        kth = np.partition(keys @ training.T, -k, axis=1)[:, -k]
        distance: Float64 = np.sqrt(np.maximum(2.0 - 2.0 * kth.astype(np.float64), 0.0))
        return distance

    return score


def _mahalanobis(training: Float32) -> Scorer:
    """Distance from a Gaussian fitted to all training keys (Lee et al. 2018, one class), its covariance shrunk."""
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
    """The threshold that a new demonstration's highest score exceeds with a chance of at most `rate`, as ALT's.

    Each demonstration's keys (T, D) are scored, `every` frames apart, by a detector fitted to all others; split conformal
    prediction over their maxima, or the largest where there are too few for `rate`. inf for fewer than two. The rate is
    nominal: the keys were trained on these demonstrations too.
    """
    if len(demonstrations) < 2:
        return math.inf
    highest = []
    for i, keys in enumerate(demonstrations):
        others = np.concatenate([k for j, k in enumerate(demonstrations) if j != i])
        highest.append(float(detector.fit(others)(keys[::every]).max()))
    rank = min(len(highest), math.ceil((len(highest) + 1) * (1 - rate) - 1e-9))
    return sorted(highest)[rank - 1]


def false_alarms_at_detection(clean: ArrayLike, strange: ArrayLike, share: float = DETECTED) -> tuple[int, int]:
    """Clean episodes that are flagged (of how many) by the highest threshold that flags `share` of the strange ones."""
    below, above = np.asarray(clean, np.float64), np.sort(np.asarray(strange, np.float64))[::-1]
    if above.size == 0:
        return 0, 0
    threshold = above[math.ceil(share * above.size) - 1]
    return int((below >= threshold).sum()), int(below.size)


def auroc_interval(clean: Float64, strange: Float64) -> tuple[float, float, float] | None:
    """AUROC with its 95 % bootstrap interval over episodes (percentiles, seeded); None where a side is empty."""
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
