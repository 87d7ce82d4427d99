"""Films of LeRobot's data sets: many episodes' frames of one camera in one MP4.

Source: lerobot 0.6.1, `datasets/video_utils.py`. A frame is found by its time: the
start of its episode in the film, and its time in the episode.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np

from altbench.api import DatasetError, UInt8

CODEC, PIXELS = "libx264", "yuv444p"
"""H.264 with full colour. In 4:2:0, LeRobot's default, a cube of 84×84 images loses
colour at its edges; and images of odd sizes cannot be kept."""
QUALITY, KEY_FRAMES = 12, 2
"""x264's constant rate factor, and the distance of key frames, LeRobot's default."""
INFO: dict[str, Any] = {
    "video.codec": "h264",
    "video.pix_fmt": PIXELS,
    "video.g": KEY_FRAMES,
    "video.crf": QUALITY,
    "video.fast_decode": 0,
    "video.extra_options": {},
    "video.video_backend": "pyav",
}
"""What `info.json` says of the codec."""
TOLERANCE = 0.25
"""The share of a frame's time by which its time in the film may differ."""


class FilmWriter:
    """A film in the making. `frames`: how many it has."""

    def __init__(self, path: Path, size: tuple[int, int], fps: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.frames = path, 0
        self._container = av.open(str(path), "w")
        # One thread: more of them make the bytes depend on the machine.
        options = {"crf": str(QUALITY), "g": str(KEY_FRAMES), "threads": "1"}
        self._stream: Any = self._container.add_stream(CODEC, rate=fps, options=options)
        self._stream.height, self._stream.width = size
        self._stream.pix_fmt = PIXELS

    @property
    def bytes(self) -> int:
        """The size so far, without what the encoder still holds."""
        return self.path.stat().st_size

    def add(self, images: UInt8) -> None:
        """Append the images (T, H, W, 3)."""
        for picture in images:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            self._container.mux(self._stream.encode(frame))
        self.frames += len(images)

    def close(self) -> None:
        """Write what the encoder still holds, and end the film."""
        self._container.mux(self._stream.encode())
        self._container.close()


def read(path: Path, size: tuple[int, int], times: Iterable[float], fps: float) -> UInt8:
    """Read the frames at `times` (s, rising), as (T, H, W, 3) of `size`.

    DatasetError if the film is damaged, or of another size, or lacks a frame.
    """
    wanted = list(times)
    with _reasons(path), av.open(str(path)) as container:
        if not container.streams.video:
            raise DatasetError(f"{path}: expected a film, got none")
        stream: Any = container.streams.video[0]
        if stream.codec_context is None:  # a header that was cut off, or an unknown codec
            raise DatasetError(f"{path}: expected a film, got one that FFmpeg has no decoder for")
        # Before a frame is decoded, since its size is what is reserved for it.
        if (stream.height, stream.width) != size:
            raise DatasetError(f"{path}: expected images of {size}, got {(stream.height, stream.width)}")
        found = list(_at(container, stream, wanted, TOLERANCE / fps))
    if len(found) < len(wanted):
        raise DatasetError(f"{path}: expected a frame at {wanted[len(found)]:.3f} s, but it is missing")
    return np.stack(found)


def _at(container: Any, stream: Any, wanted: list[float], tolerance: float) -> Iterator[UInt8]:
    """Yield the frames at the times `wanted`, until one is missing."""
    container.seek(max(0, round((wanted[0] - tolerance) / stream.time_base)), stream=stream, backward=True)
    left = iter(wanted)
    time = next(left)
    for frame in container.decode(stream):
        seen = float(frame.pts * stream.time_base) if frame.pts is not None else -1.0
        if seen > time + tolerance:
            return
        if seen >= time - tolerance:
            yield frame.to_ndarray(format="rgb24")
            if (following := next(left, None)) is None:
                return
            time = following


@contextmanager
def _reasons(path: Path) -> Iterator[None]:
    """Turn PyAV's errors in the block into a DatasetError that names the film."""
    try:
        yield
    except (av.FFmpegError, OSError, ValueError, IndexError, OverflowError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise DatasetError(f"{path}: cannot be read as a film: {reason}") from error
