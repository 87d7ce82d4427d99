"""Perturbations that need only the image: noise, brightness, an occluding patch.

Noise and brightness take the constants of ImageNet-C (Hendrycks & Dietterich 2019,
"Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", and
their published code), on images scaled to [0, 1].
"""

from __future__ import annotations

import numpy as np

from altbench.api import FrameKey, UInt8
from altbench_envs.perturbations.base import ImagePerturbation, to_uint8

NOISE_SCALE = (0.0, 0.08, 0.12, 0.18, 0.26, 0.38)
BRIGHTENING = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
COVERED = (0.0, 0.04, 0.09, 0.16, 0.25, 0.36)
PATCH_GREY = 127


class GaussianNoise(ImagePerturbation):
    """Normal noise on every pixel and channel, new for each frame.

    Its standard deviation is 8 to 38 % of white.
    """

    name = "gaussian_noise"

    def _changed(self, image: UInt8, key: FrameKey) -> UInt8:
        noise = key.frame_rng().standard_normal(image.shape)
        return to_uint8(image / 255.0 + NOISE_SCALE[self.severity] * noise)


class Brightness(ImagePerturbation):
    """A raise of each pixel's value (of hue, saturation, value) by 0.1 to 0.5.

    The value stays at most 1.
    """

    name = "brightness"

    def _changed(self, image: UInt8, key: FrameKey) -> UInt8:
        del key
        scaled = image / 255.0
        value = scaled.max(axis=2, keepdims=True)
        brighter = np.minimum(value + BRIGHTENING[self.severity], 1.0)
        # Channels scale with the value, so hue and saturation stay; black turns grey.
        return to_uint8(np.where(value > 0, scaled * (brighter / np.maximum(value, 1 / 255)), brighter))


class Occlusion(ImagePerturbation):
    """A grey square over 4 to 36 % of the image's area, in one place for an episode.

    A greater severity covers all that a lesser one covers.
    """

    name = "occlusion"

    def _changed(self, image: UInt8, key: FrameKey) -> UInt8:
        height, width = image.shape[:2]
        side = min(round(np.sqrt(COVERED[self.severity] * height * width)), height, width)
        down, right = key.episode_rng().random(2)
        top, left = int(down * (height - side + 1)), int(right * (width - side + 1))
        occluded = image.copy()
        occluded[top : top + side, left : left + side] = PATCH_GREY
        return occluded
