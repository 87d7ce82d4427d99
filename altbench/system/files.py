"""Files and folders that are whole or missing.

They are written under a temporary name, then moved into place.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from altbench.core.errors import AltbenchError

LEFTOVER = re.compile(r".+\.[0-9a-f]{8}\.tmp")
"""The temporary names of `replacing`: what a killed process left may be deleted."""

LONGEST_NAME = 180
"""Bytes of a name that labels may fill: most file systems allow 255, and keys, suffixes
and the temporary names of `replacing` come on top.
"""


@contextmanager
def replacing(path: Path, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; the block makes a file or a folder there.

    `path`'s folder is made if missing. If the block ends well, the temporary file or
    folder is flushed to disk and replaces `path`. If it raises, `path` stays as it was
    and the temporary one is removed. After kill -9 a hidden `.NAME.*.tmp` may remain,
    but never half a `path`. `durable=False`: for files that need not survive a crash
    of the machine.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        if durable:
            # First, since a crash could else leave the new name without contents.
            _flush_all(temporary)
        if temporary.is_dir() and path.is_dir():
            shutil.rmtree(path)  # a rename onto a folder with files fails
        temporary.replace(path)
        if durable:
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


def file_name(name: str) -> str:
    """Return `name` as the name of a file or folder: a slash becomes a hyphen.

    A name of over `LONGEST_NAME` bytes is cut, and ends in digits that tell it apart.
    """
    flat = name.replace("/", "-")
    encoded = flat.encode("utf-8")
    if len(encoded) <= LONGEST_NAME:
        return flat
    digits = hashlib.sha256(encoded).hexdigest()[:8]
    return f"{encoded[: LONGEST_NAME - 9].decode('utf-8', 'ignore')}-{digits}"


def make_folder(folder: Path) -> None:
    """Make `folder` and its parents; raise AltbenchError if that is impossible.

    Commands call this first, so that a bad --out is found before any work.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_folder(folder, "a file is there" if folder.is_file() else error.strerror or error) from None


def check_folder(folder: Path) -> None:
    """Raise AltbenchError if a file is where `make_folder` needs a folder."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        raise _no_folder(folder, "a file is there" if nearest == folder else f"{nearest} is a file")


def _no_folder(folder: Path, reason: object) -> AltbenchError:
    return AltbenchError(f"{folder}: expected a folder, or a place for one: {reason}; choose another --out")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path`, as in `replacing`."""
    make_folder(path.parent)
    with replacing(path) as temporary:
        temporary.mkdir()
        yield temporary


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all (`replacing`)."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
