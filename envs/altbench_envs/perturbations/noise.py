"""Shot and impulse noise with ImageNet-C's constants (Hendrycks & Dietterich 2019, "Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations", and their published code); gaussian noise is in pixels.py.

Noise is a pixel's own, so its constants do not depend on the image's size.
"""

from __future__ import annotations

import numpy as np

from altbench.api import FrameKey, UInt8
from altbench_envs.perturbations.base import ImagePerturbation, to_uint8

PHOTONS = (np.inf, 60.0, 25.0, 12.0, 5.0, 3.0)
FLIPPED = (0.0, 0.03, 0.06, 0.09, 0.17, 0.27)


class ShotNoise(ImagePerturbation):
    """Poisson noise of few photons, fresh each frame: white is 60 of them at severity 1, 3 at 5."""

    name = "shot_noise"

    def _changed(self, image: UInt8, key: FrameKey) -> UInt8:
        photons = PHOTONS[self.severity]
        return to_uint8(key.frame_rng().poisson(image / 255.0 * photons) / photons)


class ImpulseNoise(ImagePerturbation):
    """Salt and pepper, fresh each frame: 3 to 27 % of all pixels' channels are 0 or 255."""

    name = "impulse_noise"

    def _changed(self, image: UInt8, key: FrameKey) -> UInt8:
        flip, salt = key.frame_rng().random((2, *image.shape))
        grains = np.where(salt < 0.5, 0, 255).astype(np.uint8)
        return np.where(flip < FLIPPED[self.severity], grains, image)
