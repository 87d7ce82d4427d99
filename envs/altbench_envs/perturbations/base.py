"""What the perturbations of images share: checked arguments, the identity at severity 0, and scales of an image."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from altbench.api import Float64, FrameKey, Perturbation, UInt8
from altbench_envs.perturbations.validation import check_image, check_options, checked_severity

IMAGENET_SIDE = 224  # pixels: what ImageNet-C's constants are meant for


class ImagePerturbation(Perturbation):
    """A perturbation without options; subclasses are final and say what severities 1 to 5 do."""

    def __init__(self, severity: int, **options: Any) -> None:
        self.severity = checked_severity(self.name, severity)
        check_options(self.name, options)

    def apply(self, image: UInt8, key: FrameKey) -> UInt8:
        """Perturbed copy of `image`, uint8 (H, W, 3); at severity 0 an equal one."""
        check_image(self.name, image)
        return self._changed(image, key) if self.severity else image.copy()

    @abstractmethod
    def _changed(self, image: UInt8, key: FrameKey) -> UInt8:
        """`image` at a severity from 1 on, as a new array."""


def pixels_for(image: UInt8, published: float) -> float:
    """A length that was published in pixels of a 224 × 224 image, in pixels of `image` (by its shorter side)."""
    return published * min(image.shape[:2]) / IMAGENET_SIDE


def to_uint8(scaled: Float64) -> UInt8:
    """[0, 1] -> uint8, values outside clipped."""
    return np.asarray(np.round(np.clip(scaled, 0.0, 1.0) * 255), dtype=np.uint8)
