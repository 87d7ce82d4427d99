"""Where a camera looks: an image is shifted, turned and stretched until its background fits the demonstrations'."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates

from altbench.api import Float32

LEVELS = (4, 2, 1)
"""Pixels of a side that are averaged at each level, from coarse to fine."""
SMALLEST = 8
"""A level has at least so many averaged pixels in each direction."""
STEPS = 12
"""Gauss-Newton steps at each level."""
SEARCHED = 3
"""How many coarse pixels a shift is searched in each direction, before the first step."""
RIDGE = 1e-4
"""How strongly a step is held back, as a share of its curvature."""


def register(grey: Float32, shown: Float32, trust: Float32) -> Float32:
    """Return the map (2, 3) through which the background of `grey` (H, W) fits `shown` (H, W).

    It is an affine map of the plane, from a pixel's place to its place in `grey`; both
    are rows and columns from the middle. Lucas and Kanade's method (1981), with gain and
    offset of the brightness. `trust`: (H, W), the weight of each pixel.
    """
    found = _shift(grey, shown, trust)
    for side in (side for side in LEVELS if min(shown.shape) >= SMALLEST * side):
        found = _refine(grey, shown, trust, found, side)
    return found


def miss(shown: Float32, trust: Float32, grey: Float32) -> float:
    """Return how badly `grey` (H, W) fits `shown` (H, W), gain and offset taken out.

    It is the weighted mean square of what is left, as a share of the variance of
    `shown`. NaN do not count.
    """
    inside = ~np.isnan(grey)
    return _miss(shown, np.where(inside, grey, 0), trust * inside)


def _shift(grey: Float32, background: Float32, trust: Float32) -> Float32:
    """Return the map (2, 3) of the best shift at the coarsest level."""
    side, best = LEVELS[0], (np.inf, np.eye(2, 3, dtype=np.float32))
    shown, seen_by = _shrunk(background, side), _shrunk(trust, side)
    for rows in range(-SEARCHED, SEARCHED + 1):
        for columns in range(-SEARCHED, SEARCHED + 1):
            shift = np.array([[1, 0, rows * side], [0, 1, columns * side]], np.float32)
            seen = sample(_shrunk(grey, side), shift, shown.shape, side)
            inside = ~np.isnan(seen)
            left = _miss(shown, np.where(inside, seen, 0), seen_by * inside)
            best = min(best, (left, shift), key=lambda found: found[0])
    return best[1]


def _refine(grey: Float32, background: Float32, trusted: Float32, found: Float32, side: int) -> Float32:
    """Return the map (2, 3) after Gauss-Newton steps at one level."""
    image, shown, trust = (_shrunk(a, side) for a in (grey, background, trusted))
    rows, columns = np.meshgrid(*(_centred(n, side) for n in shown.shape), indexing="ij")
    plane = np.stack([rows, columns, np.ones_like(rows)], axis=-1).reshape(-1, 3)
    for _ in range(STEPS):
        seen = sample(image, found, shown.shape, side)
        inside = ~np.isnan(seen)
        seen = np.where(inside, seen, shown)
        gain, offset = _tone(shown, seen, trust * inside)
        slopes = [slope.ravel() / side for slope in np.gradient(gain * seen)]
        left = (gain * seen + offset - shown).ravel()
        steep = np.concatenate([slope[:, None] * plane for slope in slopes], axis=1)
        weight = (trust * inside).ravel() / (1 + np.square(left) / (np.median(np.square(left)) + 1e-6))
        curvature = (steep * weight[:, None]).T @ steep
        curvature += RIDGE * np.diag(np.diag(curvature)) + 1e-9 * np.eye(6)
        step = np.linalg.solve(curvature, (steep * weight[:, None]).T @ left).reshape(2, 3)
        found = (found - _through(step, found)).astype(np.float32)
    return found


def _through(step: Float32, found: Float32) -> Float32:
    """Return a step (2, 3) in the image's plane that was taken in the warped one."""
    moved: Float32 = found[:, :2] @ step
    return moved


def _centred(count: int, side: int) -> Float32:
    """Return the places of `count` pixels of `side` fine ones, from the middle, in fine pixels."""
    return ((np.arange(count) - (count - 1) / 2) * side).astype(np.float32)


def sample(image: Float32, found: Float32, shape: tuple[int, ...], side: int = 1) -> Float32:
    """Return an image (h, w) seen through the map (2, 3): float32 `shape`, NaN beyond its border.

    `side`: how many fine pixels the image's pixels are wide.
    """
    rows, columns = np.meshgrid(*(_centred(n, side) for n in shape), indexing="ij")
    places = [m[0] * rows + m[1] * columns + m[2] for m in found]
    coordinates = [p / side + (n - 1) / 2 for p, n in zip(places, image.shape, strict=True)]
    sampled: Float32 = map_coordinates(image, coordinates, order=1, mode="constant", cval=np.nan)
    return sampled


def _shrunk(image: Float32, side: int) -> Float32:
    """Average (H, W) over squares of `side` pixels."""
    h, w = image.shape[0] // side, image.shape[1] // side
    shrunk: Float32 = image[: h * side, : w * side].reshape(h, side, w, side).mean(axis=(1, 3))
    return shrunk


def _tone(shown: Float32, seen: Float32, weight: Float32) -> tuple[float, float]:
    """Return gain and offset that bring `seen` nearest to `shown`, by weighted least squares."""
    total = max(float(weight.sum()), 1e-9)
    means = (weight * shown).sum() / total, (weight * seen).sum() / total
    spread = float((weight * np.square(seen - means[1])).sum()) / total
    gain = float((weight * (shown - means[0]) * (seen - means[1])).sum()) / total / (spread + 1e-6)
    return gain, float(means[0] - gain * means[1])


def _miss(shown: Float32, seen: Float32, weight: Float32) -> float:
    """Return the weighted mean square of what gain and offset leave of a difference, as a share of the whole."""
    gain, offset = _tone(shown, seen, weight)
    total = max(float(weight.sum()), 1e-9)
    middle = (weight * shown).sum() / total
    spread = float((weight * np.square(shown - middle)).sum()) / total
    return float((weight * np.square(gain * seen + offset - shown)).sum()) / total / (spread + 1e-9)
