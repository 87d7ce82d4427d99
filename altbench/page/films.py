"""Frames of a run's films, as pictures that the page carries, and films beside the page."""

from __future__ import annotations

import base64
import io
import logging
from functools import lru_cache
from pathlib import Path

import numpy as np

from altbench.core.types import UInt8
from altbench.page.records import RunRecords, task_info
from altbench.report.video import HOLD_LAST_S

FRAMES = 5
"""Pictures of a film strip."""
SIZE = 112
"""Height and width of a picture in pixels."""

log = logging.getLogger(__name__)


def strip_of(run: RunRecords, cell: str, episode: int) -> tuple[str, ...]:
    """Return pictures of an episode, as `data:` addresses; empty if it was not filmed.

    A film shows the first episodes of its cell, one after the other.
    """
    path = run.films.get(cell)
    if path is None:
        return ()
    own = run.episodes[run.episodes["name"] == cell].sort_values("episode")
    info = task_info(str(own["task"].iloc[0]))
    if info is None:
        return ()
    still = round(HOLD_LAST_S * info.control_hz)
    start = int((own.loc[own["episode"] < episode, "steps"] + 1 + still).sum())
    length = int(own.loc[own["episode"] == episode, "steps"].iloc[0]) + 1
    places = [start + round(i * (length - 1) / (FRAMES - 1)) for i in range(FRAMES)]
    return _pictures(path, tuple(places))


@lru_cache(maxsize=64)
def _pictures(path: Path, places: tuple[int, ...]) -> tuple[str, ...]:
    """Return the frames at `places` of a film; empty, with a warning, if it cannot be read."""
    import av
    from av.error import FFmpegError

    found: dict[int, str] = {}
    try:
        with av.open(str(path)) as film:
            for i, frame in enumerate(film.decode(video=0)):
                if i in places:
                    found[i] = _picture(frame.to_ndarray(format="rgb24"))
                if i >= places[-1]:
                    break
    except (FFmpegError, OSError, ValueError, IndexError) as error:
        log.warning("no film strip: %s cannot be read (%s)", path, str(error).splitlines()[0])
        return ()
    return tuple(found[place] for place in places) if all(place in found for place in places) else ()


def _picture(frame: UInt8) -> str:
    """Return the scene, the left square of a frame, as a small JPEG in a `data:` address."""
    from PIL import Image

    side = frame.shape[0]
    buffer = io.BytesIO()
    scene = Image.fromarray(np.ascontiguousarray(frame[:, : min(side, frame.shape[1])]))
    scene.resize((SIZE, SIZE), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=72)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
