"""An image's colours, mapped to those of a reference by one affine map."""

from __future__ import annotations

import numpy as np

from altbench.api import Float32

RIDGE = 1e-4
"""How strongly a map is drawn to the identity, as a share of the pixels' weight."""
ROUNDS = 3
"""Rounds of least squares; each gives less weight to pixels that the last one missed."""
SQUARE = 4
"""The map is fitted to means over squares of so many pixels, in which pixel noise cancels out.

Noise would look like a lack of contrast.
"""


def map_colours(images: Float32, reference: Float32, trust: Float32) -> Float32:
    """Return images (B, H, W, 3) with the colours of `reference` (H, W, 3).

    One affine map of the colours of each image, fitted to the pixels by their `trust`
    (H, W). So brightness, contrast, saturation and the light's colour do not count, as
    far as they change all pixels alike.
    """
    side = SQUARE if min(trust.shape) >= 4 * SQUARE else 1
    few = np.stack([pooled(image, side) for image in images])
    aim, weight = pooled(reference, side).reshape(-1, 3), pooled(trust[..., None], side).ravel()
    seen = _with_ones(few.reshape(len(images), -1, 3))
    weights = np.broadcast_to(weight, seen.shape[:2])
    for _ in range(ROUNDS):
        found = _fit(seen, aim, weights)
        missed = np.square(seen @ found - aim).sum(axis=2)
        usual = np.median(missed, axis=1, keepdims=True) + np.float32(1e-5)
        weights = weight / (1 + missed / usual)
    mapped: Float32 = _with_ones(images.reshape(len(images), -1, 3)) @ found
    return mapped.reshape(images.shape)


def _with_ones(pixels: Float32) -> Float32:
    return np.concatenate([pixels, np.ones((*pixels.shape[:2], 1), np.float32)], axis=2)


def _fit(seen: Float32, aim: Float32, weights: Float32) -> Float32:
    """Return the maps (B, 4, 3) that bring `seen` (B, P, 4) nearest to `aim` (P, 3)."""
    weighted = np.swapaxes(seen * weights[..., None], 1, 2)
    pull = np.float32(RIDGE) * weights.sum(axis=1)[:, None, None]
    left = weighted @ seen + pull * np.eye(4, dtype=np.float32)
    right = weighted @ aim + pull * np.eye(4, 3, dtype=np.float32)
    found: Float32 = np.linalg.solve(left, right).astype(np.float32)
    return found


def pooled(image: Float32, pool: int) -> Float32:
    """Average (H, W, 3) over squares of `pool` × `pool` pixels.

    Rows and columns that fill no square are left out.
    """
    if pool == 1:
        return image
    h, w = image.shape[0] // pool, image.shape[1] // pool
    squares = image[: h * pool, : w * pool].reshape(h, pool, w, pool, -1)
    means: Float32 = squares.mean(axis=(1, 3), dtype=np.float32)
    return means
