"""Files and folders that are whole or missing: written under another name, then moved into place."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from altbench.core.errors import AltbenchError

LEFTOVER = re.compile(r".+\.[0-9a-f]{8}\.tmp")
"""The names under which `replacing` writes; such a file or folder is half-written and may be deleted."""


@contextmanager
def replacing(path: Path, flush: bool = True) -> Iterator[Path]:
    """Yield a temporary name in `path`'s folder (made if missing), to be written within the block: a file, or a folder.

    When the block ends well, what was written is flushed to disk and takes the place of `path`; when it raises, `path`
    stays as it was and the temporary one is removed. After kill -9 a hidden `.NAME.*.tmp` may stay behind, never half a
    `path`. `flush=False`: for what need not survive a crash of the machine.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        if flush:
            _flush_all(temporary)
        if temporary.is_dir() and path.is_dir():
            shutil.rmtree(path)  # a folder cannot take the place of one that holds files
        temporary.replace(path)
        if flush:
            _flush(path.parent)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def _flush_all(path: Path) -> None:
    for part in (*path.rglob("*"), path):
        _flush(part)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """`folder` with all above it; AltbenchError where it cannot be one, so that this is found before any work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_folder(folder, "a file is there" if folder.is_file() else error.strerror or error) from None


def check_folder(folder: Path) -> None:
    """AltbenchError where `make_folder` would fail because a file is in the way; makes nothing."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        raise _no_folder(folder, "a file is there" if nearest == folder else f"{nearest} is a file")


def _no_folder(folder: Path, reason: object) -> AltbenchError:
    return AltbenchError(f"{folder}: expected a folder, or a place for one: {reason}; choose another --out")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends well, and is removed when it raises."""
    make_folder(path.parent)
    with replacing(path) as temporary:
        temporary.mkdir()
        yield temporary


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
