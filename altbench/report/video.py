"""mp4 files of episodes, with a caption above the picture."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from altbench.core.errors import ConfigError, ContractError
from altbench.core.types import UInt8
from altbench.system.console import one_line
from altbench.system.files import replacing

HOLD_LAST_S = 1.0
"""Seconds for which an episode's last frame stands, so that the outcome can be read."""
FONT_SIZES = range(16, 7, -1)
"""Sizes of a caption in points, from the preferred one to the smallest."""


def write_mp4(path: Path, frames: UInt8, fps: float) -> None:
    """Write `frames`, uint8 RGB (T, H, W, 3), as H.264; complete or not at all.

    The codec is MPEG-4 if libx264 is missing. Odd heights and widths are made even by
    repeating the last row or column, as the codecs demand. Raises ContractError for
    other arrays, ConfigError if `path` cannot be written.
    """
    _check_frames(frames)
    try:
        with replacing(path) as temporary:
            _encode(temporary, _even(frames), Fraction(fps).limit_denominator(1000))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from error


def _encode(path: Path, frames: UInt8, rate: Fraction) -> None:
    import av

    h264 = "libx264" in av.codecs_available
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264" if h264 else "mpeg4", rate=rate)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        stream.options = {"crf": "18"} if h264 else {"qscale": "3"}
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode())


def _even(frames: UInt8) -> UInt8:
    height, width = frames.shape[1:3]
    return np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def side_by_side(views: Sequence[UInt8], height: int = 256) -> UInt8:
    """Return the frames of several cameras, each uint8 (T, H, W, 3), side by side.

    They are enlarged by a whole factor to at least `height` pixels.
    """
    factor = -(-height // views[0].shape[1])
    return np.concatenate(views, axis=2).repeat(factor, axis=1).repeat(factor, axis=2)


def caption(frames: UInt8, text: str | Sequence[str]) -> UInt8:
    """Return `frames`, uint8 (T, H, W, 3), with `text` on a strip above them.

    `text` is one for all frames, or one for each. It shrinks to fit. If even the
    smallest size is too wide, it is cut and ends in `…`. Raises ContractError for a wrong number of texts.
    Example: `caption(frames, "lift/alt/n30 recall ep 3 – success")`.
    """
    _check_frames(frames)
    texts = [text] * len(frames) if isinstance(text, str) else list(text)
    if len(texts) != len(frames):
        raise ContractError(f"expected a text for each of {len(frames)} frames, got {len(texts)}")
    width = frames.shape[2]
    strips = {line: _strip(line, width) for line in set(texts)}
    return np.concatenate([np.stack([strips[line] for line in texts]), frames], axis=1)


def _strip(text: str, width: int) -> UInt8:
    """Return the text white on black, uint8 (24, width, 3)."""
    from PIL import Image, ImageDraw, ImageFont

    image, text = Image.new("RGB", (width, 24)), one_line(text)
    draw = ImageDraw.Draw(image)
    fonts = [ImageFont.load_default(size) for size in FONT_SIZES]
    font = next((f for f in fonts if draw.textlength(text, font=f) <= width - 8), fonts[-1])
    cuts = (text, *(f"{text[:kept]}…" for kept in range(len(text) - 1, 0, -1)))
    shown = next((cut for cut in cuts if draw.textlength(cut, font=font) <= width - 8), "")
    draw.text((4, 12), shown, font=font, anchor="lm", fill="white")
    return np.asarray(image, np.uint8)


def _check_frames(frames: UInt8) -> None:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        raise ContractError(f"expected frames uint8 (T, H, W, 3), got {frames.dtype} {frames.shape}")
