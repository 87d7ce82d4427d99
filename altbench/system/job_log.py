"""The log of a job: what its process prints, of a size that is limited."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOG_BYTES = 2**20
"""The size that a log is cut back to: its beginning and its end stay."""
_CUT = b"\n[... the middle of this log was left out, as the log had become too long ...]\n"
_OUTPUTS = (1, 2)
"""The file descriptors of standard output and standard error."""


def append(path: Path, text: str) -> None:
    """Append `text` to the log in `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)


@contextmanager
def logged(path: Path, title: str) -> Iterator[None]:
    """Send all that this process and its children print in the block to the log `path`.

    So it is with what C code prints. Afterwards this process prints to nowhere. A line
    with `title` and the time precedes what is printed; without prints there is no log.
    """
    append(path, f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {title}, process {os.getpid()}\n")
    begun = path.stat().st_size
    _send_outputs_to(path, os.O_WRONLY | os.O_APPEND)
    try:
        yield
    finally:
        _send_outputs_to(Path(os.devnull), os.O_WRONLY)
        _remove_if_empty(path, begun)
        trim(path)


def send_to_nowhere() -> None:
    """Let this process read from nowhere and print to nowhere.

    It holds its parent's terminal or pipe no longer, and its children never do.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, *_OUTPUTS):
        os.dup2(null, descriptor)
    os.close(null)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")


def trim(path: Path) -> None:
    """Cut the log in `path` back if it is over `LOG_BYTES` long.

    A process may write to it meanwhile; few of its lines may then be lost.
    """
    with suppress(OSError):
        if path.stat().st_size <= LOG_BYTES:
            return
        with path.open("r+b") as file:
            file.seek(-LOG_BYTES // 4, os.SEEK_END)
            end = file.read(LOG_BYTES // 4)
            file.truncate(LOG_BYTES // 2)
        with path.open("ab") as file:
            file.write(_CUT + end)


def _send_outputs_to(path: Path, flags: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # a policy may have closed or replaced it
            stream.flush()
    with suppress(Exception):
        ctypes.CDLL(None).fflush(None)
    target = os.open(path, flags)
    for descriptor in _OUTPUTS:
        os.dup2(target, descriptor)
    os.close(target)


def _remove_if_empty(path: Path, begun: int) -> None:
    """Take back the title of a job that printed nothing."""
    with suppress(OSError):
        if path.stat().st_size > begun:
            return
        with path.open("r+b") as file:
            before = file.read(begun)
            kept = before[:-1].rfind(b"\n") + 1
            file.truncate(kept)
        if not kept:
            path.unlink()
