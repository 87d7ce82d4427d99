"""Fisher's criterion, pixel by pixel: what differs between demonstrations, and not within one."""

from __future__ import annotations

import numpy as np

from altbench.api import Float32

STEADY = 2.0
"""A difference stays if its mean over a window is so many times its standard deviation."""
LEVEL = 0.005
"""And if it is more than about one of 256 levels."""


def fisher_weights(windows: Float32, regularisation: float) -> Float32:
    """Return the weight of each number, float32 (F,), summing to 1.

    `windows`: float32 (E, W, F), W frames of each of E demonstrations. A weight is
    b / (w + `regularisation`): b is the variance between demonstrations of the mean over
    a window, w the mean variance within a window. If demonstrations do not differ (as a
    single one), it is 1 / (w + `regularisation`).
    """
    between, within = windows.mean(axis=1).var(axis=0), windows.var(axis=1).mean(axis=0)
    weights = between / (within + np.float32(regularisation))
    if not weights.any():
        weights = 1 / (within + np.float32(regularisation))
    scaled: Float32 = (weights / weights.sum(dtype=np.float64)).astype(np.float32)
    return scaled


def distances(seen: Float32, shown: Float32) -> Float32:
    """Return the distances of weighted images `seen` (F,) and `shown` (E, F): float32 (E,).

    Numbers are scaled by the roots of their weights. So a distance is the root of the
    weighted mean square of the difference of two images, in units of white.
    """
    found: Float32 = np.sqrt(np.square(shown - seen).sum(axis=1))
    return found


def arm_noise(windows: Float32) -> Float32:
    """Return by how much images differ although their objects stand alike: float32 (E, F).

    `windows`: float32 (E, W, F), some frames of each demonstration. It is the first
    one's difference from the median of all demonstrations, without the numbers at which
    the difference stays the same over the window: there the objects stand elsewhere.
    The arm moves on, and so do the differences that it makes.
    """
    difference = windows - np.median(windows, axis=0)
    stays = np.abs(difference.mean(axis=1)) > STEADY * difference.std(axis=1) + LEVEL
    noise: Float32 = np.where(stays, 0, difference[:, 0])
    return noise
