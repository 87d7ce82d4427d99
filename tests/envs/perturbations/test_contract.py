"""Every perturbation keeps its contract on any image, and does what its name says."""

from __future__ import annotations

import dataclasses
import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage import color, data, io

from altbench.checks import perturbation as checks
from altbench.core import registry
from altbench.core.errors import ConfigError, ContractError
from altbench.core.perturbation import FrameKey, Perturbation
from altbench.core.types import UInt8
from altbench_envs.perturbations import Brightness, GaussianNoise, Occlusion, Photograph
from altbench_envs.perturbations.pixels import COVERED
from altbench_envs.robosuite_env.adapter import RobosuiteEnv

NAMES = [n for n in registry.names("perturbation") if issubclass(registry.perturbation(n), Perturbation)]
images = hnp.arrays(np.uint8, st.tuples(st.integers(8, 40), st.integers(8, 40), st.just(3)))
keys = st.builds(FrameKey, st.integers(0, 2**62), st.integers(0, 3), st.integers(0, 500))


@cache
def rendered_film(env: RobosuiteEnv) -> tuple[tuple[UInt8, ...], ...]:
    """The cameras' images over the first 40 steps of an episode in which the arm moves."""
    film = [tuple(env.reset(seed=0)[0]["pixels"].values())]
    action = np.array([0.1, 0.1, 0.9, 1, 0, 0, 0, -1, 0, -1], np.float32)
    for _ in range(40):
        env.advance(action)
        film.append(tuple(env.observe()["pixels"].values()))
    return tuple(film)


@pytest.mark.parametrize("name", registry.names("perturbation"))
def test_what_it_does_is_told_without_the_names_of_constants(name: str) -> None:
    first = (registry.perturbation(name).__doc__ or "").splitlines()[0]
    assert first.endswith(".") and not re.search(r"[A-Z]+_[A-Z]|`[A-Z]|\[", first), first


def mean_change(name: str, severity: int, film: tuple[tuple[UInt8, ...], ...]) -> float:
    """Mean absolute change over cameras and the frames 0, 3, 6, ... of as many episodes as there are frames."""
    perturbation, changes = registry.perturbation(name)(severity), []
    assert isinstance(perturbation, Perturbation)
    for step in range(0, len(film), 3):
        kept = max((s for s in range(step + 1) if perturbation.keeps(s)), default=None)
        for camera, image in enumerate(film[step]):
            reference = None if kept is None else film[kept][camera]
            changed = perturbation.apply(image, FrameKey(step, camera, step, reference))
            changes.append(np.abs(changed - image.astype(int)).mean())
    return float(np.mean(changes))


@pytest.fixture
def image() -> UInt8:
    """A photograph of 60 × 80 pixels."""
    return np.ascontiguousarray(data.astronaut()[:480:8, :480:6])


def apply(name: str, severity: int, image: UInt8, key: FrameKey) -> UInt8:
    """What the registered perturbation of images `name` makes of `image`."""
    perturbation = registry.perturbation(name)(severity)
    assert isinstance(perturbation, Perturbation)
    return perturbation.apply(image, key)


@pytest.mark.parametrize("name", NAMES)
def test_passes_the_checker(name: str) -> None:
    checks.check_perturbation(registry.perturbation(name))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=30, deadline=None)
@given(image=images, key=keys, severity=st.integers(0, 5))
def test_shape_dtype_determinism_and_an_untouched_input(name: str, image: UInt8, key: FrameKey, severity: int) -> None:
    before, key = image.copy(), dataclasses.replace(key, reference=image.copy())
    result, again = (apply(name, severity, image, key) for _ in range(2))
    assert result.dtype == np.uint8
    assert result.shape == image.shape
    assert not np.shares_memory(result, image)
    np.testing.assert_array_equal(result, again)
    np.testing.assert_array_equal(image, before)
    if severity == 0:
        np.testing.assert_array_equal(result, image)


@pytest.mark.sim
@pytest.mark.parametrize("name", NAMES)
def test_distortion_grows_with_severity_on_rendered_images(name: str, pixels_env: RobosuiteEnv) -> None:
    film = rendered_film(pixels_env)
    changes = [mean_change(name, severity, film) for severity in range(6)]
    assert changes[0] == 0
    assert np.all(np.diff(changes) > 0.1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("severity", [True, 2.0, -1, 6, "3", None])
def test_severity_must_be_an_integer_from_0_to_5(name: str, severity: Any) -> None:
    with pytest.raises(ConfigError, match=f"{name}: severity: expected an integer from 0 to 5, got {severity!r}"):
        registry.perturbation(name)(severity)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="photograph: unknown option 'fodler'; did you mean 'folder'"):
        Photograph(1, fodler="x")
    with pytest.raises(ConfigError, match="brightness: unknown option 'gain'; brightness has none"):
        Brightness(1, gain=2)


def test_images_of_another_kind_are_refused() -> None:
    with pytest.raises(ContractError, match=r"expected uint8 \(H, W, 3\), got float64 \(8, 8, 3\)"):
        GaussianNoise(1).apply(np.zeros((8, 8, 3)), FrameKey(0, 0, 0))  # type: ignore[arg-type]


def test_noise_is_fresh_each_frame_and_has_its_published_scale() -> None:
    grey = np.full((84, 84, 3), 128, np.uint8)
    noise = GaussianNoise(2)
    one, two = (noise.apply(grey, FrameKey(1, 0, step)).astype(float) for step in (0, 1))
    assert not np.array_equal(one, two)
    assert (one - 128).std() / 255 == pytest.approx(0.12, rel=0.03)


def test_brightness_adds_to_the_value_of_hue_saturation_value(image: UInt8) -> None:
    hsv = color.rgb2hsv(image / 255.0)
    hsv[..., 2] = np.clip(hsv[..., 2] + 0.3, 0, 1)
    expected = np.round(color.hsv2rgb(hsv) * 255)
    assert np.abs(Brightness(3).apply(image, FrameKey(0, 0, 0)) - expected).max() <= 1


def test_occlusion_stays_within_an_episode_and_moves_between() -> None:
    white = np.full((84, 84, 3), 255, np.uint8)
    occlusion = Occlusion(3)
    first = occlusion.apply(white, FrameKey(1, 0, 0))
    np.testing.assert_array_equal(first, occlusion.apply(white, FrameKey(1, 0, 50)))
    assert not np.array_equal(first, occlusion.apply(white, FrameKey(2, 0, 0)))
    assert (first < 255).mean() == pytest.approx(COVERED[3], abs=0.01)


def test_a_greater_occlusion_covers_the_lesser() -> None:
    white = np.full((50, 84, 3), 255, np.uint8)
    for episode in range(20):
        covered = [Occlusion(s).apply(white, FrameKey(episode, 0, 0)) < 255 for s in range(6)]
        assert all(np.all(more[less]) for less, more in pairwise(covered))


def test_photograph_replaces_the_image_at_severity_5(image: UInt8) -> None:
    black, key = np.zeros_like(image), FrameKey(0, 0, 0)
    cat = Photograph(5).apply(image, key)
    np.testing.assert_array_equal(cat, Photograph(5).apply(black, key))
    half = Photograph(2).apply(black, key)
    np.testing.assert_allclose(half, 0.4 * cat, atol=0.51)


def test_photographs_of_a_folder_are_chosen_by_episode(tmp_path: Path, image: UInt8) -> None:
    for name, grey in (("a.png", 10), ("b.JPG", 200)):
        io.imsave(tmp_path / name, np.full((30, 50, 3), grey, np.uint8), check_contrast=False)
    io.imsave(tmp_path / "grey.png", np.full((30, 50), 90, np.uint8), check_contrast=False)
    (tmp_path / "notes.txt").write_text("not a photograph")
    photograph = Photograph(5, folder=tmp_path)
    seen = {int(photograph.apply(image, FrameKey(e, 0, s))[0, 0, 0]) for e in range(30) for s in range(2)}
    assert seen == {10, 90, 200}
    assert len({int(photograph.apply(image, FrameKey(3, 0, s))[0, 0, 0]) for s in range(9)}) == 1


def test_photograph_is_cropped_about_its_centre(tmp_path: Path) -> None:
    wide = np.zeros((40, 120, 3), np.uint8)
    wide[:, 40:80] = 250
    io.imsave(tmp_path / "wide.png", wide, check_contrast=False)
    square = Photograph(5, folder=str(tmp_path)).apply(np.zeros((20, 20, 3), np.uint8), FrameKey(0, 0, 0))
    assert square.min() > 240


def test_folders_without_photographs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folder: expected a folder, got "):
        Photograph(1, folder=tmp_path / "none")
    with pytest.raises(ConfigError, match=r"expected \.jpeg, \.jpg, \.png files, found none"):
        Photograph(1, folder=tmp_path)
    with pytest.raises(ConfigError, match="folder: expected a path, got 3"):
        Photograph(1, folder=3)
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(ConfigError, match=r"broken\.png is not a readable image"):
        Photograph(1, folder=tmp_path)
