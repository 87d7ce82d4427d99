"""A photograph, unrelated to the task, blended into the camera image.

The paper's E9 puts cats and dogs in place of the camera.
"""

from __future__ import annotations

import hashlib
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
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise ConfigError(f"perturbation photograph: folder: expected a folder, got {str(folder)!r}")
    files = tuple(sorted(f for f in path.iterdir() if f.suffix.lower() in SUFFIXES))
    if not files:
        raise ConfigError(
            f"perturbation photograph: folder: expected {', '.join(SUFFIXES)} files, found none in {str(folder)!r}"
        )
    for file in files:
        _check_header(file)
    return files


def _check_header(file: Path) -> None:
    """Raise ConfigError now, not during an episode, if `file` is not an image."""
    from PIL import Image

    try:
        Image.open(file).close()
    except OSError as error:
        raise ConfigError(f"perturbation photograph: {file.name} is not a readable image ({error})") from None


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

    Grey and transparent pictures become RGB.
    """
    from skimage import data
    from skimage.color import gray2rgb, rgba2rgb
    from skimage.io import imread
    from skimage.util import img_as_ubyte

    try:
        picture = imread(file) if isinstance(file, Path) else getattr(data, file)()
        picture = picture[0] if isinstance(picture, tuple) else picture  # of the stereo pair the left one
    except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises for broken files
        raise ConfigError(f"perturbation photograph: {file} is not a readable image ({error})") from None
    if picture.ndim == 2:
        picture = gray2rgb(picture)
    if picture.ndim != 3 or picture.shape[2] not in (3, 4):
        raise ConfigError(f"perturbation photograph: {file}: expected an RGB image, got shape {picture.shape}")
    if picture.shape[2] == 4:
        picture = rgba2rgb(picture)
    return np.asarray(img_as_ubyte(picture))
