"""The pictures of a folder are decoded whole, once, in whatever form they are stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from altbench.core.errors import ConfigError
from altbench.core.perturbation import FrameKey
from altbench_envs.perturbations import Photograph

BLACK = np.zeros((16, 16, 3), np.uint8)
ORANGE = (200, 100, 0)


def shown(folder: Path) -> list[int]:
    """Return the colour in the middle of the folder's only picture."""
    image = Photograph(5, folder=folder).apply(BLACK, FrameKey(0, 0, 0))
    return [int(value) for value in image[8, 8]]


def palette() -> Image.Image:
    return Image.new("RGB", (30, 30), ORANGE).quantize(4)


def clear() -> Image.Image:
    return Image.new("RGBA", (30, 30), (*ORANGE, 0))


def sixteen_bits() -> Image.Image:
    return Image.fromarray(np.full((30, 30), 100 * 257, np.uint16))


@pytest.mark.parametrize(
    ("name", "make", "colour"),
    [
        ("cmyk.jpg", lambda: Image.new("RGB", (30, 30), ORANGE).convert("CMYK"), ORANGE),
        ("palette.png", palette, ORANGE),
        ("clear.png", clear, (255, 255, 255)),
        ("solid.png", lambda: Image.new("RGBA", (30, 30), (*ORANGE, 255)), ORANGE),
        ("grey.png", lambda: Image.new("L", (30, 30), 90), (90, 90, 90)),
        ("grey_alpha.png", lambda: Image.new("LA", (30, 30), (90, 255)), (90, 90, 90)),
        ("sixteen.png", sixteen_bits, (100, 100, 100)),
        ("bits.png", lambda: Image.new("1", (30, 30), 1), (255, 255, 255)),
    ],
)
def test_a_picture_has_its_colours_in_whatever_form_it_is_stored(
    tmp_path: Path, name: str, make: Callable[[], Image.Image], colour: tuple[int, int, int]
) -> None:
    make().save(tmp_path / name)
    np.testing.assert_allclose(shown(tmp_path), colour, atol=3)


def test_a_truncated_picture_is_refused_when_the_perturbation_is_made(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("cut.jpg", "cut.png"):
        path = tmp_path / name
        Image.fromarray(rng.integers(0, 256, (200, 200, 3), np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ConfigError, match=rf"{name} is not a readable image \(.+\)") as raised:
            Photograph(1, folder=tmp_path)
        assert "\n" not in str(raised.value)
        path.unlink()


def test_a_decompression_bomb_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (300, 300)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ConfigError, match=r"bomb\.png is not a readable image \(Image size .* exceeds"):
        Photograph(1, folder=tmp_path)


def test_a_picture_that_was_repaired_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"not a picture")
    with pytest.raises(ConfigError):
        Photograph(1, folder=tmp_path)
    Image.new("RGB", (30, 30), ORANGE).save(path)
    assert shown(tmp_path) == list(ORANGE)


def test_cmyk_pictures_are_other_contents_than_when_they_were_read_wrongly(tmp_path: Path) -> None:
    import hashlib

    Image.new("RGB", (30, 30), ORANGE).save(tmp_path / "a.jpg")
    plain = hashlib.sha256((tmp_path / "a.jpg").read_bytes()).hexdigest()
    assert Photograph(1, folder=tmp_path).contents() == plain
    Image.new("CMYK", (30, 30)).save(tmp_path / "a.jpg")
    bytes_alone = hashlib.sha256((tmp_path / "a.jpg").read_bytes()).hexdigest()
    assert Photograph(1, folder=tmp_path).contents() != bytes_alone
