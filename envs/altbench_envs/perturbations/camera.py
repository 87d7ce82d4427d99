"""A camera that was knocked or fails: its image is shifted, turned, frozen or black."""

from __future__ import annotations

import numpy as np

from altbench.api import ContractError, FrameKey, UInt8
from altbench_envs.perturbations.base import ImagePerturbation

SHIFTED = (0.0, 0.02, 0.05, 0.10, 0.15, 0.20)  # share of the image's shorter side
TURNED = (0.0, 2.0, 5.0, 10.0, 15.0, 20.0)  # degrees
UPDATE_PERIOD = (1, 2, 4, 8, 16, None)  # control steps, None: never again
DIMMED = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


class Shift(ImagePerturbation):
    """A shift of the image by 2 to 20 % of its shorter side.

    The direction stays during an episode. The border is repeated into the gap.
    """

    name = "shift"

    def _changed(self, image: UInt8, key: FrameKey) -> UInt8:
        distance = SHIFTED[self.severity] * min(image.shape[:2])
        angle = key.episode_rng().uniform(0.0, 2 * np.pi)
        return _moved(image, 0.0, (distance * np.cos(angle), distance * np.sin(angle)))


class Rotation(ImagePerturbation):
    """A turn of the image about its centre by 2 to 20°.

    The sense of rotation stays during an episode. The border is repeated into the
    corners.
    """

    name = "rotation"

    def _changed(self, image: UInt8, key: FrameKey) -> UInt8:
        side = 1.0 if key.episode_rng().random() < 0.5 else -1.0
        return _moved(image, side * TURNED[self.severity], (0.0, 0.0))


class FrozenFrame(ImagePerturbation):
    """A camera that updates only every 2, 4, 8 or 16 control steps.

    At severity 5 it never updates again.
    """

    name = "frozen_frame"

    def keeps(self, step: int) -> bool:
        """Return whether the camera updates at this step."""
        period = UPDATE_PERIOD[self.severity]
        return step == 0 if period is None else step % period == 0

    def _changed(self, image: UInt8, key: FrameKey) -> UInt8:
        reference = key.reference
        if reference is None or reference.shape != image.shape:
            raise ContractError("perturbation frozen_frame: expected key.reference, the image at the latest kept step")
        return reference.copy()


class BlackCamera(ImagePerturbation):
    """A camera that darkens by a fifth per severity; at 5 it is black.

    Name the camera with `cameras`.
    """

    name = "black_camera"

    def _changed(self, image: UInt8, key: FrameKey) -> UInt8:
        del key
        return np.asarray(np.round((1.0 - DIMMED[self.severity]) * image), dtype=np.uint8)


def _moved(image: UInt8, degrees: float, shift: tuple[float, float]) -> UInt8:
    """Return `image` turned about its centre, then moved by (right, down) pixels.

    Bilinear, the border repeated outwards.
    """
    import cv2

    height, width = image.shape[:2]
    turned = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    matrix = turned + np.array([[0.0, 0.0, shift[0]], [0.0, 0.0, shift[1]]])
    moved = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, dtype=np.uint8)
