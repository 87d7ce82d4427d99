"""Each family of image perturbations does what its name and its published constants say."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import data

from altbench.core.errors import ContractError
from altbench.core.perturbation import FrameKey
from altbench.core.types import Float64, UInt8
from altbench_envs import perturbations as p

KEY = FrameKey(11, 0, 4)


@pytest.fixture(scope="module")
def image() -> UInt8:
    """A photograph of 84 × 84 pixels."""
    return np.ascontiguousarray(data.astronaut()[:504:6, :504:6])


def dot(side: int) -> UInt8:
    """One white pixel on black, in the middle."""
    black = np.zeros((side, side, 3), np.uint8)
    black[side // 2, side // 2] = 255
    return black


def spread(blurred: UInt8) -> Float64:
    """Standard deviation of the light along rows and columns, pixels."""
    light = blurred[..., 0].astype(float)
    places = np.indices(light.shape)
    mean = (places * light).sum(axis=(1, 2)) / light.sum()
    return np.sqrt((((places - mean[:, None, None]) ** 2) * light).sum(axis=(1, 2)) / light.sum())


def test_shot_noise_has_the_variance_of_its_photons() -> None:
    grey = np.full((84, 84, 3), 102, np.uint8)
    seen = p.ShotNoise(2).apply(grey, KEY) / 255.0
    assert seen.mean() == pytest.approx(0.4, abs=0.01)
    assert seen.var() == pytest.approx(0.4 / 25, rel=0.05)


def test_impulse_noise_flips_the_published_share_to_salt_and_pepper() -> None:
    grey = np.full((84, 84, 3), 102, np.uint8)
    seen = p.ImpulseNoise(4).apply(grey, KEY)
    assert set(np.unique(seen)) == {0, 102, 255}
    assert (seen != 102).mean() == pytest.approx(0.17, abs=0.01)
    assert (seen == 255).sum() == pytest.approx((seen == 0).sum(), rel=0.1)


@pytest.mark.parametrize("side", [84, 168])
def test_lengths_scale_with_the_image(side: int) -> None:
    black = np.zeros((side, side, 3), np.uint8)
    black[:, side // 2 :] = 255
    edge = p.GaussianBlur(5).apply(black, KEY)[side // 2, :, 0].astype(float)
    slope = np.diff(edge).max() / 255  # of a blurred edge: 1 / (sigma sqrt(2 pi))
    assert 1 / (slope * np.sqrt(2 * np.pi)) == pytest.approx(6.0 * side / 224, rel=0.1)


def test_defocus_spreads_a_point_over_a_disk() -> None:
    seen = p.DefocusBlur(5).apply(dot(225), KEY)[..., 0].astype(float)
    assert seen.sum() == pytest.approx(255, rel=0.35)  # a disk's grey levels are small and rounded
    assert np.sqrt((seen > 0).sum() / np.pi) == pytest.approx(10.0, abs=0.8)


def test_motion_smears_in_one_direction_for_an_episode() -> None:
    motion = p.MotionBlur(5)
    seen = motion.apply(dot(225), KEY)
    np.testing.assert_array_equal(seen, motion.apply(dot(225), FrameKey(11, 0, 50)))
    rows, columns = spread(seen)
    assert columns > rows  # at most 45 degrees from the horizontal
    assert np.hypot(rows, columns) == pytest.approx(8.1, rel=0.2)  # half a gaussian of 15 pixels, cut off at 40
    others = [motion.apply(dot(225), FrameKey(e, 0, 0)) for e in range(4)]
    assert len({o.tobytes() for o in others}) == 4


def test_blur_leaves_a_flat_image_flat() -> None:
    flat = np.full((40, 60, 3), (10, 128, 250), np.uint8)
    for blur in (p.DefocusBlur(5), p.MotionBlur(5), p.GaussianBlur(5)):
        np.testing.assert_array_equal(blur.apply(flat, KEY), flat)


def test_contrast_keeps_the_mean_and_scales_the_deviation(image: UInt8) -> None:
    seen = p.Contrast(3).apply(image, KEY).astype(float)
    np.testing.assert_allclose(seen.mean(axis=(0, 1)), image.mean(axis=(0, 1)), atol=0.5)
    np.testing.assert_allclose(seen.std(axis=(0, 1)), 0.2 * image.std(axis=(0, 1)), rtol=0.03)


def test_saturation_makes_colours_purer_and_no_brighter(image: UInt8) -> None:
    seen = p.Saturation(4).apply(image, KEY)
    np.testing.assert_allclose(seen.max(axis=2), image.max(axis=2), atol=1)
    assert (seen.min(axis=2) < image.min(axis=2)).mean() > 0.8


def test_fog_is_the_same_all_episode_and_brightens_the_dark(image: UInt8) -> None:
    first = p.Fog(3).apply(image, KEY)
    np.testing.assert_array_equal(first, p.Fog(3).apply(image, FrameKey(11, 0, 70)))
    assert not np.array_equal(first, p.Fog(3).apply(image, FrameKey(12, 0, 4)))
    assert first[image < 40].mean() > image[image < 40].mean() + 30
    assert first.max() <= image.max()


def test_fog_is_smooth() -> None:
    grey = np.full((128, 128, 3), 128, np.uint8)
    grey[0, 0] = 255
    cloud = p.Fog(5).apply(grey, KEY)[4:, 4:, 0].astype(float)
    assert np.abs(np.diff(cloud, axis=0)).mean() < 0.2 * cloud.std()


def test_jpeg_is_what_a_file_of_that_quality_holds(image: UInt8) -> None:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=10)
    np.testing.assert_array_equal(p.Jpeg(4).apply(image, KEY), np.asarray(Image.open(file)))


def test_pixelate_leaves_the_published_number_of_squares(image: UInt8) -> None:
    seen = p.Pixelate(5).apply(image, KEY)
    edges = (np.diff(seen.astype(int), axis=1) != 0).any(axis=(0, 2)).sum()
    assert edges in (20, 21)  # between a quarter of 84 columns; the first may be cut
    assert seen.mean() == pytest.approx(image.mean(), abs=0.5)


def test_shift_moves_the_whole_image_by_the_same_way() -> None:
    seen = p.Shift(5).apply(dot(101), KEY)[..., 0].astype(float)
    places = np.indices(seen.shape)
    way = (places * seen).sum(axis=(1, 2)) / seen.sum() - 50
    assert np.hypot(*way) == pytest.approx(0.2 * 101, abs=0.2)
    np.testing.assert_array_equal(seen, p.Shift(5).apply(dot(101), FrameKey(11, 0, 9))[..., 0])


def test_rotation_turns_about_the_centre() -> None:
    black = np.zeros((101, 101, 3), np.uint8)
    black[50, 90] = 255
    row, column = np.unravel_index(p.Rotation(4).apply(black, KEY)[..., 0].argmax(), (101, 101))
    assert abs(np.rad2deg(np.arctan2(row - 50, column - 50))) == pytest.approx(15.0, abs=1.0)
    assert np.hypot(row - 50, column - 50) == pytest.approx(40, abs=1.0)


def test_rotation_and_shift_fill_with_the_border() -> None:
    flat = np.full((40, 60, 3), (10, 128, 250), np.uint8)
    for moved in (p.Shift(5), p.Rotation(5)):
        np.testing.assert_array_equal(moved.apply(flat, KEY), flat)


def test_a_frozen_camera_shows_the_kept_frame_and_needs_it(image: UInt8) -> None:
    kept = np.flip(image, axis=0).copy()
    np.testing.assert_array_equal(p.FrozenFrame(5).apply(image, FrameKey(0, 0, 9, kept)), kept)
    with pytest.raises(ContractError, match=r"expected key\.reference"):
        p.FrozenFrame(5).apply(image, FrameKey(0, 0, 9))
    assert [s for s in range(40) if p.FrozenFrame(4).keeps(s)] == [0, 16, 32]
    assert [s for s in range(40) if p.FrozenFrame(5).keeps(s)] == [0]


def test_a_dead_camera_is_black(image: UInt8) -> None:
    assert not p.BlackCamera(5).apply(image, KEY).any()
    np.testing.assert_allclose(p.BlackCamera(3).apply(image, KEY), 0.4 * image, atol=0.51)


@pytest.mark.parametrize("name", ["MotionBlur", "Fog", "Shift", "Rotation", "Pixelate"])
def test_the_two_cameras_of_an_episode_are_perturbed_differently(name: str, image: UInt8) -> None:
    made: Any = getattr(p, name)(5)
    drawn = [(made.apply(image, FrameKey(e, 0, 0)), made.apply(image, FrameKey(e, 1, 0))) for e in range(3)]
    assert any(not np.array_equal(*pair) for pair in drawn)
