"""What image perturbations share.

Checked arguments, the identity at severity 0, and scales of an image.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from altbench.api import Float64, FrameKey, Perturbation, UInt8
from altbench_envs.perturbations.validation import check_image, check_options, checked_severity

IMAGENET_SIDE = 224
"""The image side (pixels) for which ImageNet-C's constants were published."""


class ImagePerturbation(Perturbation):
    """A perturbation without options.

    Subclasses are final and define severities 1 to 5.
    """

    def __init__(self, severity: int, **options: Any) -> None:
        self.severity = checked_severity(self.name, severity)
        check_options(self.name, options)

    def apply(self, image: UInt8, key: FrameKey) -> UInt8:
        """Return a perturbed copy of `image`, uint8 (H, W, 3).

        At severity 0 the copy is equal to the image.
        """
        check_image(self.name, image)
        return self._changed(image, key) if self.severity else image.copy()

    @abstractmethod
    def _changed(self, image: UInt8, key: FrameKey) -> UInt8:
        """Return `image` at a severity from 1 on, as a new array."""


def pixels_for(image: UInt8, published: float) -> float:
    """Convert a length published in pixels of a 224 × 224 image to pixels of `image`.

    The scale is that of the image's shorter side.
    """
    return published * min(image.shape[:2]) / IMAGENET_SIDE


def to_uint8(scaled: Float64) -> UInt8:
    """Convert [0, 1] to uint8; values outside are clipped."""
    return np.asarray(np.round(np.clip(scaled, 0.0, 1.0) * 255), dtype=np.uint8)
