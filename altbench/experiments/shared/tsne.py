"""Exact t-SNE in numpy: a map of points in the plane that keeps neighbours together.

Source: van der Maaten and Hinton, "Visualizing data using t-SNE" (2008), with its early
exaggeration, gains and momentum. It begins from the two principal components, so that
the same points give the same map.
"""

from __future__ import annotations

import numpy as np

from altbench.core.types import Float64

EXAGGERATION, EXAGGERATED = 12.0, 250
"""Factor by which attraction is exaggerated at first, and for how many iterations."""
TINY = 1e-12
"""Least probability and scale, against divisions by zero."""


def tsne(points: Float64, perplexity: float = 30.0, iterations: int = 750) -> Float64:
    """Return a map (M, 2) of `points` (M, D).

    The perplexity is lowered to (M - 1) / 3 if it is higher.
    """
    count = len(points)
    near = _neighbours(_squared_distances(points), min(perplexity, (count - 1) / 3))
    near = np.maximum((near + near.T) / (2 * count), TINY)
    placed = _principal(points)
    step, gains = np.zeros_like(placed), np.ones_like(placed)
    rate = max(count / EXAGGERATION / 4, 50.0)  # Belkina et al. 2019
    for i in range(iterations):
        exaggeration, momentum = (EXAGGERATION, 0.5) if i < EXAGGERATED else (1.0, 0.8)
        gradient = _gradient(exaggeration * near, placed)
        gains = np.maximum(np.where(np.sign(gradient) == np.sign(step), gains * 0.8, gains + 0.2), 0.01)
        step = momentum * step - rate * gains * gradient
        placed = placed + step
        placed -= placed.mean(axis=0)
    return placed


def _gradient(near: Float64, placed: Float64) -> Float64:
    """Return the gradient (M, 2), equation 5 of the source."""
    weight = 1 / (1 + _squared_distances(placed))
    np.fill_diagonal(weight, 0.0)
    pull = (near - np.maximum(weight / weight.sum(), TINY)) * weight
    gradient: Float64 = 4 * (pull.sum(axis=1)[:, None] * placed - pull @ placed)
    return gradient


def _neighbours(squared: Float64, perplexity: float) -> Float64:
    """Return conditional probabilities (M, M) by bisection.

    Each row's entropy is that of `perplexity` equal neighbours.
    """
    low, high = np.zeros(len(squared)), np.full(len(squared), np.inf)
    scale = np.ones(len(squared)) / np.maximum(np.median(squared, axis=1), TINY)
    # Shifted so that the nearest point has distance 0: else all weights could underflow
    # to 0.
    shifted = squared - np.min(squared + np.diag(np.full(len(squared), np.inf)), axis=1)[:, None]
    for _ in range(64):
        weight = np.exp(-np.maximum(shifted, 0.0) * scale[:, None])
        np.fill_diagonal(weight, 0.0)
        total = weight.sum(axis=1)
        chance = weight / total[:, None]
        entropy = np.log(total) + scale * (chance * shifted).sum(axis=1)
        wide = entropy > np.log(perplexity)
        low, high = np.where(wide, scale, low), np.where(wide, high, scale)
        scale = np.where(np.isinf(high), 2 * scale, (low + high) / 2)
    found: Float64 = chance
    return found


def _principal(points: Float64) -> Float64:
    """Return the two principal components (M, 2).

    The first has a standard deviation of 1e-4, so that the map begins small.
    """
    centred = points - points.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    placed = centred @ axes[:2].T
    scaled: Float64 = 1e-4 * placed / max(float(placed[:, 0].std()), TINY)
    return scaled


def _squared_distances(points: Float64) -> Float64:
    norms = np.square(points).sum(axis=1)
    squared: Float64 = np.maximum(norms[:, None] + norms - 2 * points @ points.T, 0.0)
    return squared
