"""Writing HDF5 files whole, and guards for reading those of unknown origin.

Any file may be damaged or hostile. So a link that leads out of the file is refused, and
how an array is stored is checked before memory is reserved for it. Nothing is
unpickled, and no other file is opened.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from altbench.core.errors import AltbenchError, DatasetError

MAX_DEFLATE_RATIO = 1100
"""Bytes that an array may claim per stored byte. Deflate reaches 1032, no more."""

GROWTH_BYTES = 1 << 24
"""Bytes by which a file that is made in memory grows: seldom, since growing copies it."""


@dataclass(frozen=True)
class Storage:
    """The ways in which the arrays of a file may be stored.

    `filters`: HDF5's numbers of the allowed filters; `compression`: the same in words,
    for messages. On each axis a chunk may be `chunk_factor` times as long as the array,
    or `free_chunk` long if that is more. `max_bytes`: an array's size in memory, at
    most.
    """

    filters: frozenset[int]
    compression: str
    chunk_factor: int = 1
    free_chunk: int = 0
    max_bytes: int | None = None


@contextmanager
def created(path: Path, userblock_size: int = 0) -> Iterator[h5py.File]:
    """Make the new file `path`, to be filled in the block; OSError if that fails.

    `userblock_size`: bytes before the HDF5 part, which stay zero. If the block raises,
    nothing is written. Call it inside `replacing`.
    """
    # In memory: on a full disk HDF5 raises RuntimeError when it closes a file, and the
    # process may crash when the half-closed file is collected.
    kept = {"driver": "core", "backing_store": False, "block_size": GROWTH_BYTES}
    with h5py.File(path, "w", userblock_size=userblock_size or None, **kept) as file:
        yield file
        file.flush()
        content = file.id.get_file_image()
    with path.open("xb") as stream:
        stream.write(bytes(userblock_size))
        stream.write(content)


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn every error in the block into a DatasetError about `path`, with the reason.

    AltbenchErrors pass unchanged.
    """
    try:
        yield
    except AltbenchError:
        raise
    # h5py raises OSError, KeyError, RuntimeError, TypeError and more for a file that it
    # cannot read.
    except Exception as error:
        reason = " ".join(str(error).split())  # pyarrow's has several lines
        raise DatasetError(f"{path}: cannot be read: {type(error).__name__}: {reason}") from error


def group(parent: h5py.Group, name: str) -> h5py.Group:
    """Return the group `name` directly inside `parent`.

    DatasetError if it is missing, an array or a link.
    """
    found = _child(parent, name)
    if not isinstance(found, h5py.Group):
        raise DatasetError(f"{place(parent, name)}: expected a group, got an array")
    return found


def array(parent: h5py.Group, name: str) -> h5py.Dataset:
    """Return the array `name` directly inside `parent`, unread.

    DatasetError if it is missing, a group or a link. Call `check_storage` before
    reading.
    """
    found = _child(parent, name)
    if not isinstance(found, h5py.Dataset):
        raise DatasetError(f"{place(parent, name)}: expected an array, got a group")
    return found


def _child(parent: h5py.Group, name: str) -> Any:
    # A soft or external link would let a file read any other file of the user.
    link = parent.get(name, getlink=True)
    if link is None:
        raise DatasetError(f"{place(parent, name)}: missing")
    if not isinstance(link, h5py.HardLink):
        raise DatasetError(f"{place(parent, name)}: expected data, got a link to elsewhere")
    return parent[name]


def check_storage(where: str, found: h5py.Dataset, allowed: Storage) -> None:
    """Raise DatasetError unless the array is stored as `allowed`, inside the file.

    This includes an array that claims more bytes than its stored data can expand to.
    """
    settings = found.id.get_create_plist()
    filters = {settings.get_filter(i)[0] for i in range(settings.get_nfilters())}
    if found.external or found.is_virtual or not filters <= allowed.filters:
        raise DatasetError(f"{where}: expected {allowed.compression} data inside the file")
    longest = [max(allowed.chunk_factor * side, allowed.free_chunk) for side in found.shape or ()]
    if any(chunk > most for chunk, most in zip(found.chunks or (), longest, strict=False)):
        raise DatasetError(f"{where}: expected chunks no larger than {tuple(longest)}, got {found.chunks}")
    stored = int(found.id.get_storage_size())
    if found.nbytes > MAX_DEFLATE_RATIO * stored:
        raise DatasetError(f"{where}: claims {found.nbytes:,} bytes, but only {stored:,} are stored")
    if allowed.max_bytes is not None and found.nbytes > allowed.max_bytes:
        raise DatasetError(f"{where}: expected at most {allowed.max_bytes:,} bytes, got {found.nbytes:,}")


def attribute(parent: h5py.Group, name: str) -> h5py.h5a.AttrID:
    """Return the attribute `name` of `parent`, unread; DatasetError if missing."""
    if name not in parent.attrs:
        raise DatasetError(f"{place(parent, f'@{name}')}: missing")
    return parent.attrs.get_id(name)


def text(parent: h5py.Group, name: str, longest: int, fixed_length: bool = False) -> str:
    """Read the text attribute `name` of `parent`, of at most `longest` characters.

    `fixed_length`: also accept HDF5's strings of fixed length, decoded as UTF-8.
    """
    where, found = place(parent, f"@{name}"), attribute(parent, name)
    if h5py.check_string_dtype(found.dtype) is None or found.shape != ():
        raise DatasetError(f"{where}: expected a text, got {found.dtype} {found.shape}")
    content = parent.attrs[name]
    if fixed_length and isinstance(content, bytes):
        content = content.decode("utf-8")
    if not isinstance(content, str) or len(content) > longest:
        raise DatasetError(f"{where}: expected a text of at most {longest:,} characters")
    return content


def json_object(where: str, content: str) -> dict[str, Any]:
    """Parse `content` as a JSON object; DatasetError with `where` if it is not one."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{where}: expected JSON: {error}") from None
    if not isinstance(found, dict):
        raise DatasetError(f"{where}: expected a JSON object, got {type(found).__name__}")
    return found


def place(parent: h5py.Group, name: str) -> str:
    """Return `FILE: /path/name` for messages."""
    return f"{parent.file.filename}: {str(parent.name).rstrip('/')}/{name}"
