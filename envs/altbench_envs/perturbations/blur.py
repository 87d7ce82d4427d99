"""Defocus, motion and gaussian blur with ImageNet-C's constants.

Hendrycks & Dietterich 2019, and their published code; lengths are scaled to the image.
"""

from __future__ import annotations

import numpy as np

from altbench.api import Float64, FrameKey, UInt8
from altbench_envs.perturbations.base import ImagePerturbation, pixels_for

DISK_RADIUS = (0.0, 3.0, 4.0, 6.0, 8.0, 10.0)  # pixels of a 224 × 224 image, as are all lengths here
DISK_SOFTENING = (0.0, 0.1, 0.5, 0.5, 0.5, 0.5)  # standard deviation
STREAK = ((0.0, 0.0), (10.0, 3.0), (15.0, 5.0), (15.0, 8.0), (15.0, 12.0), (20.0, 15.0))  # radius, standard deviation
GAUSSIAN_SIGMA = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0)
STEEPEST = np.pi / 4  # of a motion against the horizontal
FINER = 8  # subdivisions of a pixel in which kernels are drawn: scaled radii are fractions of pixels


class DefocusBlur(ImagePerturbation):
    """A lens out of focus: each point becomes a disk.

    Its radius is 3/224 to 10/224 of the image's shorter side.
    """

    name = "defocus_blur"

    def _changed(self, image: UInt8, key: FrameKey) -> UInt8:
        del key
        radius, softening = DISK_RADIUS[self.severity], DISK_SOFTENING[self.severity]
        return _filtered(image, _disk(pixels_for(image, radius), pixels_for(image, softening)))


class MotionBlur(ImagePerturbation):
    """A camera that moves in one direction during an episode.

    Each point trails off over 3/224 to 15/224 of the image.
    """

    name = "motion_blur"

    def _changed(self, image: UInt8, key: FrameKey) -> UInt8:
        radius, sigma = (pixels_for(image, length) for length in STREAK[self.severity])
        angle = key.episode_rng().uniform(-STEEPEST, STEEPEST)
        return _filtered(image, _streak(radius, sigma, angle))


class GaussianBlur(ImagePerturbation):
    """A blur in which each point becomes a bell.

    Its standard deviation is 1/224 to 6/224 of the image's shorter side.
    """

    name = "gaussian_blur"

    def _changed(self, image: UInt8, key: FrameKey) -> UInt8:
        from scipy.ndimage import gaussian_filter

        del key
        sigma = pixels_for(image, GAUSSIAN_SIGMA[self.severity])
        blurred = gaussian_filter(image.astype(np.float64), (sigma, sigma, 0), mode="nearest")
        return np.asarray(np.round(blurred), dtype=np.uint8)


def _disk(radius: float, softening: float) -> Float64:
    """Return how much of each pixel a disk covers, softened by a gaussian.

    An odd square with sum 1.
    """
    from scipy.ndimage import gaussian_filter

    reach = int(np.ceil(radius + 3 * softening))
    side = (2 * reach + 1) * FINER
    offsets = (np.arange(side) + 0.5) / FINER - side / (2 * FINER)
    inside = (np.hypot(*np.meshgrid(offsets, offsets)) <= radius).astype(np.float64)
    fine = gaussian_filter(inside, softening * FINER) if softening else inside
    return _coarse(fine)


def _streak(radius: float, sigma: float, angle: float) -> Float64:
    """Return half a gaussian along a ray of length 2 `radius` at `angle`.

    Its standard deviation is `sigma`. An odd square with sum 1.
    """
    length = 2 * radius
    reach = int(np.ceil(length)) + 1
    side = (2 * reach + 1) * FINER
    along = (np.arange(round(length * FINER)) + 0.5) / FINER
    centre = side / 2
    columns = np.floor(centre + along * np.cos(angle) * FINER).astype(int)
    rows = np.floor(centre + along * np.sin(angle) * FINER).astype(int)
    fine = np.zeros((side, side))
    np.add.at(fine, (rows, columns), np.exp(-(along**2) / (2 * sigma**2)))
    return _coarse(fine)


def _coarse(fine: Float64) -> Float64:
    side = fine.shape[0] // FINER
    sums = fine.reshape(side, FINER, side, FINER).sum(axis=(1, 3))
    kernel: Float64 = sums / sums.sum()
    return kernel


def _filtered(image: UInt8, kernel: Float64) -> UInt8:
    """Return the image correlated with `kernel`, its border repeated outwards."""
    import cv2

    filtered = cv2.filter2D(image.astype(np.float64), -1, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(np.clip(np.round(filtered), 0, 255), dtype=np.uint8)
