"""Contrast, saturation and fog with ImageNet-C's constants.

Hendrycks & Dietterich 2019, and their published code; brightness is in pixels.py. The
effect on a pixel does not depend on the image's size.

Saturation and fog depart from the published constants, which do not distort more with
each severity. Saturation: the published severities 1 and 2 remove colour and the others
add it; here all add it, the published ones being 2, 3 and 5. Fog: the published
severities 3 and 4 are equally dense; here 4 lies between its neighbours, and the clouds
have one roughness.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from altbench.api import Float64, FrameKey, UInt8
from altbench_envs.perturbations.base import ImagePerturbation, to_uint8

CONTRAST = (1.0, 0.4, 0.3, 0.2, 0.1, 0.05)
SATURATION = ((1.0, 0.0), (1.5, 0.0), (2.0, 0.0), (5.0, 0.1), (10.0, 0.15), (20.0, 0.2))  # factor, summand
FOG_DENSITY = (0.0, 1.5, 2.0, 2.5, 2.75, 3.0)
FOG_DECAY = 1.7  # of its detail, from one scale to half of it


class Contrast(ImagePerturbation):
    """A reduction of each channel's deviation from its mean to 40 to 5 %."""

    name = "contrast"

    def _changed(self, image: UInt8, key: FrameKey) -> UInt8:
        del key
        scaled = image / 255.0
        mean = scaled.mean(axis=(0, 1), keepdims=True)
        return to_uint8(mean + CONTRAST[self.severity] * (scaled - mean))


class Saturation(ImagePerturbation):
    """A saturation (of hue, saturation, value) multiplied by 1.5 to 20.

    From severity 3 on it is also raised a little.
    """

    name = "saturation"

    def _changed(self, image: UInt8, key: FrameKey) -> UInt8:
        from skimage.color import hsv2rgb, rgb2hsv

        del key
        hsv = rgb2hsv(image)
        factor, summand = SATURATION[self.severity]
        hsv[..., 1] = np.clip(factor * hsv[..., 1] + summand, 0.0, 1.0)
        return to_uint8(hsv2rgb(hsv))


class Fog(ImagePerturbation):
    """A fractal cloud over the image, the same for an episode.

    The brightest pixel stays as bright.
    """

    name = "fog"

    def _changed(self, image: UInt8, key: FrameKey) -> UInt8:
        density = FOG_DENSITY[self.severity]
        scaled, seed = image / 255.0, int(key.episode_rng().integers(2**63))
        height, width = image.shape[:2]
        cloud = _cloud(seed, max(height, width))[:height, :width, None]
        brightest = scaled.max()
        return to_uint8((scaled + density * cloud) * brightest / (brightest + density))


@lru_cache(maxsize=8)
def _cloud(seed: int, side: int) -> Float64:
    """Return plasma in [0, 1] of at least side × side, on a torus.

    The side is a power of two. Diamond–square (Fournier, Fussell & Carpenter 1982);
    with each halving of the scale the randomness is divided by `FOG_DECAY`.
    """
    rng = np.random.default_rng(seed)
    cloud, wobble = np.zeros((1, 1)), 1.0
    while cloud.shape[0] < side:
        cloud = _refined(cloud, wobble, rng)
        wobble /= FOG_DECAY
    cloud = cloud - cloud.min()
    result: Float64 = cloud / cloud.max()
    result.flags.writeable = False  # shared by every frame that asks for it
    return result


def _refined(coarse: Float64, wobble: float, rng: np.random.Generator) -> Float64:
    """Return a cloud twice as fine.

    Each new point is the mean of its four neighbours, plus or minus `wobble`.
    """
    side = coarse.shape[0]
    squares, rows, columns = wobble * rng.uniform(-1.0, 1.0, (3, side, side))
    right, below = np.roll(coarse, -1, axis=1), np.roll(coarse, -1, axis=0)
    centres = (coarse + right + below + np.roll(right, -1, axis=0)) / 4 + squares
    fine = np.empty((2 * side, 2 * side))
    fine[::2, ::2], fine[1::2, 1::2] = coarse, centres
    fine[::2, 1::2] = (coarse + right + centres + np.roll(centres, 1, axis=0)) / 4 + rows
    fine[1::2, ::2] = (coarse + below + centres + np.roll(centres, 1, axis=1)) / 4 + columns
    return fine
