"""Perturbations that need nothing but the image: noise, brightness, an occluding patch.

Noise and brightness take the constants of ImageNet-C (Hendrycks & Dietterich 2019, "Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations", and their published code), on images scaled to [0, 1].
"""

from __future__ import annotations

from typing import Any

import numpy as np

from altbench.api import Float64, FrameKey, Perturbation, UInt8
from altbench_envs.perturbations.validation import check_image, check_options, checked_severity

NOISE_SCALE = (0.0, 0.08, 0.12, 0.18, 0.26, 0.38)
BRIGHTENING = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
COVERED = (0.0, 0.04, 0.09, 0.16, 0.25, 0.36)
PATCH_GREY = 127


class GaussianNoise(Perturbation):
    """Normal noise on every pixel and channel, fresh each frame; standard deviation `NOISE_SCALE[severity]`."""

    name = "gaussian_noise"

    def __init__(self, severity: int, **options: Any) -> None:
        self.severity = checked_severity(self.name, severity)
        check_options(self.name, options)

    def apply(self, image: UInt8, key: FrameKey) -> UInt8:
        """Noisy copy of `image`, uint8 (H, W, 3)."""
        check_image(self.name, image)
        if self.severity == 0:
            return image.copy()
        noise = key.frame_rng().standard_normal(image.shape)
        return _to_uint8(image / 255.0 + NOISE_SCALE[self.severity] * noise)


class Brightness(Perturbation):
    """Raises each pixel's value (of hue, saturation, value) by `BRIGHTENING[severity]`, up to 1."""

    name = "brightness"

    def __init__(self, severity: int, **options: Any) -> None:
        self.severity = checked_severity(self.name, severity)
        check_options(self.name, options)

    def apply(self, image: UInt8, key: FrameKey) -> UInt8:
        """Brighter copy of `image`, uint8 (H, W, 3)."""
        del key
        check_image(self.name, image)
        if self.severity == 0:
            return image.copy()
        scaled = image / 255.0
        value = scaled.max(axis=2, keepdims=True)
        brighter = np.minimum(value + BRIGHTENING[self.severity], 1.0)
        # with hue and saturation held, the channels scale with the value; black has neither and turns grey
        return _to_uint8(np.where(value > 0, scaled * (brighter / np.maximum(value, 1 / 255)), brighter))


class Occlusion(Perturbation):
    """A grey square over `COVERED[severity]` of the image's area, where it is for a whole episode.

    A greater severity covers all that a lesser one does.
    """

    name = "occlusion"

    def __init__(self, severity: int, **options: Any) -> None:
        self.severity = checked_severity(self.name, severity)
        check_options(self.name, options)

    def apply(self, image: UInt8, key: FrameKey) -> UInt8:
        """Copy of `image` with the patch, uint8 (H, W, 3)."""
        check_image(self.name, image)
        height, width = image.shape[:2]
        side = min(round(np.sqrt(COVERED[self.severity] * height * width)), height, width)
        down, right = key.episode_rng().random(2)
        top, left = int(down * (height - side + 1)), int(right * (width - side + 1))
        occluded = image.copy()
        occluded[top : top + side, left : left + side] = PATCH_GREY
        return occluded


def _to_uint8(scaled: Float64) -> UInt8:
    """[0, 1] -> uint8, values outside clipped."""
    return np.asarray(np.round(np.clip(scaled, 0.0, 1.0) * 255), dtype=np.uint8)
