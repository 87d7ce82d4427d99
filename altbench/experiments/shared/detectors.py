"""Detectors of strange keys, and how good they are.

They are the lookup's own similarity, the distance to the k-th nearest neighbour, and
the Mahalanobis distance. A stranger key has a higher score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from altbench.core.types import Float32, Float64, Int64
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


def false_alarms_at_detection(clean: Float64, strange: Float64, share: float = DETECTION) -> NDArray[np.bool_]:
    """Return which clean episodes are flagged when `share` of the strange ones are.

    Empty if no episode is strange.
    """
    if strange.size == 0:
        return np.zeros(0, bool)
    threshold = np.sort(strange)[::-1][math.ceil(share * strange.size) - 1]
    flagged: NDArray[np.bool_] = clean >= threshold
    return flagged


@dataclass(frozen=True)
class Scored:
    """The highest scores of episodes of a condition, (n,), and their initial poses, (n,)."""

    scores: Float64
    poses: Int64


def auroc_interval(clean: Scored, strange: Scored) -> tuple[float, float, float] | None:
    """Return the AUROC with its 95 % bootstrap interval over initial poses.

    Poses are resampled, each with all its episodes of both sides. Percentile interval,
    with a fixed seed. None if a side is empty.
    """
    value = auroc(clean.scores, strange.scores)
    if value is None:
        return None
    poses = np.union1d(clean.poses, strange.poses)
    sides = [[one.scores[one.poses == pose] for pose in poses] for one in (clean, strange)]
    rng = np.random.default_rng(0)
    found = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(len(poses), size=len(poses))
        found.append(auroc(*(np.concatenate([side[i] for i in drawn]) for side in sides)))
    # A sample may lack a side, if it has few poses.
    low, high = np.nanquantile(np.array(found, np.float64), [0.025, 0.975])
    return value, float(low), float(high)
