"""JPEG compression and pixelation with ImageNet-C's constants.

Hendrycks & Dietterich 2019, and their published code. The constants are a quality and a
share of pixels; they do not depend on the image's size.
"""

from __future__ import annotations

import io

import numpy as np

from altbench.api import Float64, FrameKey, UInt8
from altbench_envs.perturbations.base import ImagePerturbation

QUALITY = (100, 25, 18, 15, 10, 7)
KEPT = (1.0, 0.6, 0.5, 0.4, 0.3, 0.25)


class Jpeg(ImagePerturbation):
    """A compression of the image as a JPEG of quality 25 to 7."""

    name = "jpeg"

    def _changed(self, image: UInt8, key: FrameKey) -> UInt8:
        from PIL import Image

        del key
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=QUALITY[self.severity])
        return np.array(Image.open(file), dtype=np.uint8)


class Pixelate(ImagePerturbation):
    """A mean over squares: 60 to 25 % of the image's rows and columns remain.

    The origin of the squares' grid is drawn for an episode.
    """

    name = "pixelate"

    def _changed(self, image: UInt8, key: FrameKey) -> UInt8:
        begins = key.episode_rng().random(2)
        rows, columns = (
            _averaging(n, KEPT[self.severity], begin) for n, begin in zip(image.shape[:2], begins, strict=True)
        )
        averaged = np.einsum("ih,hwc,jw->ijc", rows, image.astype(np.float64), columns, optimize=True)
        return np.asarray(np.round(averaged), dtype=np.uint8)


def _averaging(n: int, kept: float, begin: float) -> Float64:
    """Return the matrix (n, n) that replaces each of n numbers by its part's mean.

    There are n × kept parts.
    """
    part = np.floor(np.arange(n) * kept + begin)
    same = (part[:, None] == part[None, :]).astype(np.float64)
    mean: Float64 = same / same.sum(axis=1, keepdims=True)
    return mean
