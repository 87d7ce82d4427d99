"""Which of several readings of recorded images fits the drawn ones.

An image is read as it is, turned, with its channels reversed, from another camera, or
some frames later. All are compared with what is drawn from the recorded states. The
measure is relative: a render profile, a codec or noise moves all readings alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from altbench.core.types import Float64, UInt8

COMPARED_SIDE = 64
"""Pixels: larger images are averaged down to about this, which also averages noise."""
MARGIN = 0.1
"""The `preference` from which another reading may be the right one.

Measured on Lift and Door in both render profiles, also with JPEG at quality 30, noise
of 12 levels, gamma 0.7 and half the resolution: against the right reading, others have
-0.25 or less in all of 280 comparisons, so that it has 0.25 or more against them.
"""
NEARER = 0.75
"""The share of its distance that remains if the right reading takes another's place.

In the same pictures, one frame late, 0.65 or less remains in 40 of 44 comparisons. Of a
camera that stands elsewhere (a margin of 1 to 6 pixels cropped, or 2 pixels shifted) no
lag explains more: 0.84 or more remains.
"""
UNLIKE = 0.6
"""The correlation with the drawn image below which an image shows something else.

In the same comparisons it was 0.91 at least; an empty image has 0.5.
"""

Turn = Callable[[UInt8], UInt8]
TURNS: dict[str, Turn] = {
    "": lambda x: x,
    "upside down": lambda x: x[:, ::-1],
    "mirrored": lambda x: x[:, :, ::-1],
    "rotated by 180 degrees": lambda x: x[:, ::-1, ::-1],
}
"""In words -> the turn of images (T, H, W, 3)."""
SQUARE_TURNS: dict[str, Turn] = {
    **TURNS,
    "rotated by 90 degrees": lambda x: np.rot90(x, 1, (1, 2)),
    "rotated by 270 degrees": lambda x: np.rot90(x, 3, (1, 2)),
    "transposed": lambda x: x.transpose(0, 2, 1, 3),
    "transposed and rotated by 180 degrees": lambda x: x.transpose(0, 2, 1, 3)[:, ::-1, ::-1],
}
CHANNELS: dict[str, Turn] = {"": lambda x: x, "in BGR order": lambda x: x[..., ::-1]}


@dataclass(frozen=True)
class Reading:
    """A way to read a camera's images, in words; "" for as they are.

    `images`: read so, standardised. `distance`: theirs from the drawn ones.
    """

    words: str
    images: Float64
    distance: float


def standardised(images: UInt8) -> Float64:
    """Return images (T, H, W, 3) averaged down, each with mean 0 and deviation 1.

    So brightness and contrast do not count. A constant image becomes 0.
    """
    factor = max(1, min(images.shape[1:3]) // COMPARED_SIDE)
    height, width = (size // factor * factor for size in images.shape[1:3])
    parts = images[:, :height, :width].reshape(len(images), height // factor, factor, width // factor, factor, 3)
    small: Float64 = parts.mean(axis=(2, 4))
    small -= small.mean(axis=(1, 2, 3), keepdims=True)
    deviation = small.std(axis=(1, 2, 3), keepdims=True)
    return np.divide(small, deviation, out=np.zeros_like(small), where=deviation > 1e-6)


def distance(first: Float64, second: Float64) -> float:
    """Return the mean squared distance of two sets of standardised images."""
    return float(np.square(first - second).mean())


def correlation(found: Float64, drawn: Float64) -> float:
    """Return the correlation of two sets of standardised images; 0.5 if one is empty."""
    return 1 - distance(found, drawn) / 2


def preference(drawn: Float64, found: Float64, other: Float64) -> float:
    """Return how much nearer `other` is to `drawn` than `found` is.

    1 if `drawn` is `other`, -1 if it is `found`, 0 if they do not differ. What `drawn`
    has beyond both, such as another lighting, does not count as far as it is not like
    their difference.
    """
    apart = distance(found, other)
    return 0.0 if apart < 1e-9 else (distance(found, drawn) - distance(other, drawn)) / apart


def is_nearer(drawn: Float64, found: Float64, other: Float64) -> bool:
    """Return whether `other` is what `drawn` shows, and not `found`."""
    explained = distance(other, drawn) <= NEARER * distance(found, drawn)
    return explained and preference(drawn, found, other) > MARGIN


def best_reading(camera: str, found: Mapping[str, UInt8], drawn: UInt8) -> Reading:
    """Return the reading of a camera's images that is nearest to the `drawn` ones.

    `found`: camera -> recorded images (T, H, W, 3); those of the other cameras are tried
    as well. `drawn` (T, H, W, 3). The simpler of two equal readings wins.
    """
    target, own = standardised(drawn), standardised(found[camera])
    best = Reading("", own, distance(own, target))
    for words, images in _readings(camera, found, drawn.shape[1:3]):
        read = standardised(images)
        apart = distance(read, target)
        if apart < best.distance:
            best = Reading(words, read, apart)
    return best


def _readings(camera: str, found: Mapping[str, UInt8], size: tuple[int, ...]) -> list[tuple[str, UInt8]]:
    """Return (words, images) of every reading in the drawn size, simple ones first."""
    turns = SQUARE_TURNS if size[0] == size[1] else TURNS
    readings = [
        (_joined(f"as those of {source}" if source != camera else "", turn, order), change(channels(images)))
        for source, images in found.items()
        for turn, change in turns.items()
        for order, channels in CHANNELS.items()
    ]
    fitting = [(words, images) for words, images in readings if images.shape[1:3] == size and words]
    return sorted(fitting, key=lambda reading: reading[0].count(", "))


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
