"""Shot and impulse noise with ImageNet-C's constants; gaussian noise is in pixels.py.

Hendrycks & Dietterich 2019, "Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations", and their published code. Each pixel has its own noise,
so the constants do not depend on the image's size.
"""

from __future__ import annotations

import numpy as np

from altbench.api import FrameKey, UInt8
from altbench_envs.perturbations.base import ImagePerturbation, to_uint8

PHOTONS = (np.inf, 60.0, 25.0, 12.0, 5.0, 3.0)
FLIPPED = (0.0, 0.03, 0.06, 0.09, 0.17, 0.27)


class ShotNoise(ImagePerturbation):
    """Poisson noise of few photons, new for each frame.

    White is 60 photons at severity 1 and 3 photons at severity 5.
    """

    name = "shot_noise"

    def _changed(self, image: UInt8, key: FrameKey) -> UInt8:
        photons = PHOTONS[self.severity]
        return to_uint8(key.frame_rng().poisson(image / 255.0 * photons) / photons)


class ImpulseNoise(ImagePerturbation):
    """Salt and pepper, new for each frame: 3 to 27 % of all channels are 0 or 255."""

    name = "impulse_noise"

    def _changed(self, image: UInt8, key: FrameKey) -> UInt8:
        flip, salt = key.frame_rng().random((2, *image.shape))
        grains = np.where(salt < 0.5, 0, 255).astype(np.uint8)
        return np.where(flip < FLIPPED[self.severity], grains, image)
