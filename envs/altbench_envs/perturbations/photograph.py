"""A photograph, unrelated to the task, blended into the camera image.

The paper's E9 puts cats and dogs in place of the camera.
"""

from __future__ import annotations

import hashlib
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from altbench.api import ConfigError, FrameKey, Perturbation, UInt8
from altbench_envs.perturbations.validation import MAX_SEVERITY, check_image, check_options, checked_severity

SUFFIXES = (".jpeg", ".jpg", ".png")
BUILT_IN = (
    *("astronaut", "brick", "camera", "cat", "coffee", "coins"),
    *("grass", "gravel", "hubble_deep_field", "moon", "rocket", "stereo_motorcycle"),
)
"""Functions of `skimage.data` that return the pictures of scikit-image."""
UNLIKE_BEFORE = ("CMYK",)
"""Pillow's modes of pictures that version 2 once read otherwise, as if ink were light
and black were opacity. Their contents are marked, since old records do not hold for
them."""


class Photograph(Perturbation):
    """A photograph blended in with weight severity / 5; at 5 it covers everything.

    One is drawn per episode and camera: from the PNG and JPEG files of the option
    `folder`, or without it from twelve pictures of scikit-image (a cat, an astronaut, a
    cup of coffee, grass, the moon, ...).
    """

    name = "photograph"
    version = 2

    def __init__(self, severity: int, **options: Any) -> None:
        self.severity = checked_severity(self.name, severity)
        check_options(self.name, options, ("folder",))
        folder = options.get("folder")
        self._files: tuple[Path | str, ...] = BUILT_IN if folder is None else _photographs(folder)

    def contents(self) -> str:
        """Return a digest of the user's pictures; others are another perturbation."""
        files = [file for file in self._files if isinstance(file, Path)]
        digest = hashlib.sha256()
        for file in files:
            digest.update(file.read_bytes())
            if _checked(file, *_stamp(file)) in UNLIKE_BEFORE:
                digest.update(b"converted to RGB")
        return digest.hexdigest() if files else ""

    def apply(self, image: UInt8, key: FrameKey) -> UInt8:
        """Return a blended copy of `image`, uint8 (H, W, 3)."""
        check_image(self.name, image)
        if self.severity == 0:
            return image.copy()
        chosen = self._files[int(key.episode_rng().integers(len(self._files)))]
        photograph = _fitted(chosen, image.shape[0], image.shape[1])
        weight = self.severity / MAX_SEVERITY
        return np.asarray(np.round((1 - weight) * image + weight * photograph), dtype=np.uint8)


def _photographs(folder: Any) -> tuple[Path, ...]:
    """Return the folder's image files by name.

    Raises ConfigError if the folder is missing or contains no image.
    """
    if not isinstance(folder, (str, Path)):
        raise ConfigError(f"perturbation photograph: folder: expected a path, got {folder!r}")
    path = Path(folder).expanduser().absolute()  # a policy may change the working directory
    if not path.is_dir():
        raise ConfigError(f"perturbation photograph: folder: expected a folder, got {str(folder)!r}")
    try:
        files = tuple(sorted(f for f in path.iterdir() if f.suffix.lower() in SUFFIXES))
    except OSError as error:
        raise ConfigError(f"perturbation photograph: folder: {path} cannot be read: {error.strerror}") from None
    if not files:
        raise ConfigError(
            f"perturbation photograph: folder: expected {', '.join(SUFFIXES)} files, found none in {str(folder)!r}"
        )
    for file in files:
        _check(file)
    return files


def _check(file: Path) -> None:
    """Decode `file` whole, so that it fails now and not during an episode.

    Raises ConfigError if it is not a picture.
    """
    try:
        stamp = _stamp(file)
    except OSError as error:
        raise _unreadable(file, error) from None
    _checked(file, *stamp)


@lru_cache(maxsize=4096)
def _checked(file: Path, changed_ns: int, size: int) -> str:
    """Return Pillow's mode of a picture that can be decoded.

    `changed_ns`, `size`: of the file. A sweep makes the perturbation once for each
    severity, and decoding a folder takes seconds.
    """
    del changed_ns, size
    return _decoded(file)[1]


def _stamp(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=64)
def _fitted(file: Path | str, height: int, width: int) -> UInt8:
    """Return the photograph cropped about its centre and resized to (height, width).

    The resizing is antialiased.
    """
    from skimage.transform import resize

    photograph = _read(file)
    scale = min(photograph.shape[0] / height, photograph.shape[1] / width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (photograph.shape[0] - rows) // 2, (photograph.shape[1] - columns) // 2
    cropped = photograph[top : top + rows, left : left + columns]
    fitted = resize(cropped, (height, width), anti_aliasing=True, preserve_range=True)
    result: UInt8 = np.clip(np.round(fitted), 0, 255).astype(np.uint8)
    result.flags.writeable = False  # shared by every frame that asks for it
    return result


def _read(file: Path | str) -> UInt8:
    """Return the picture of a file or of a name in BUILT_IN, uint8 (H, W, 3).

    Grey pictures become RGB.
    """
    from skimage import data
    from skimage.color import gray2rgb
    from skimage.util import img_as_ubyte

    if isinstance(file, Path):
        return _decoded(file)[0]
    picture = getattr(data, file)()
    picture = picture[0] if isinstance(picture, tuple) else picture  # of the stereo pair the left one
    return np.asarray(img_as_ubyte(gray2rgb(picture) if picture.ndim == 2 else picture))


def _decoded(file: Path) -> tuple[UInt8, str]:
    """Return the picture in `file` as uint8 (H, W, 3), and Pillow's mode of it.

    Raises ConfigError if it cannot be decoded to its last byte.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # large, and no attack
            with Image.open(file) as opened:
                return _as_rgb(opened), opened.mode
    except Exception as error:  # a broken file may raise anything, such as SyntaxError or DecompressionBombError
        raise _unreadable(file, error) from None


def _as_rgb(picture: Any) -> UInt8:
    """Return a Pillow image as uint8 (H, W, 3).

    Transparent parts are on white. 16 bits are scaled to 8, where Pillow would cut
    them off.
    """
    from skimage.color import rgba2rgb
    from skimage.util import img_as_ubyte

    if picture.mode.startswith("I"):
        grey = np.asarray(picture).astype(np.float64) / 257
        return np.repeat(np.clip(np.round(grey), 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    if picture.has_transparency_data:
        return np.asarray(img_as_ubyte(rgba2rgb(np.asarray(picture.convert("RGBA")))))
    return np.array(picture.convert("RGB"))


def _unreadable(file: Path, error: Exception) -> ConfigError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return ConfigError(f"perturbation photograph: {file.name} is not a readable image ({reason})")
