"""Sealed HDF5 files, which are read without trusting them.

A sealed file begins with a 512-byte user block, which HDF5 and robomimic skip. It holds
the SHA-256 of the rest, so that damage anywhere in the file is found before HDF5 parses
it. The contents are checked as well (`altbench.system.hdf5`), because anyone can seal a
file: type, shape, stored size and filters of an array are checked before memory is
reserved for it. Links that lead out of the file are refused, and so is everything that
Python would have to unpickle.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from altbench.core.errors import DatasetError
from altbench.system import hdf5

SEAL_BYTES = 512
"""Length of the user block: the smallest that HDF5 allows."""
MAGIC = b"altbench sealed hdf5 1\n"
"""The first bytes of every sealed file, with the number of the seal's format."""
STORAGE = hdf5.Storage(frozenset({h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE}), "plain or gzip-compressed")
"""How we store arrays ourselves. Everything else is refused."""
MAX_TEXT = 1 << 16
"""Characters of a text attribute, at most. Our settings need a few thousand."""


@contextmanager
def create(path: Path) -> Iterator[h5py.File]:
    """Make the new file `path`, to be filled in the block; seal it after the block."""
    with hdf5.created(path, SEAL_BYTES) as file:
        yield file
    seal(path)


def seal(path: Path) -> None:
    """Write the seal of the HDF5 file `path`; its user block has `SEAL_BYTES`."""
    block = _block(path)
    with path.open("r+b") as stream:
        stream.write(block)


@contextmanager
def open_sealed(path: Path, task: str | None = None) -> Iterator[h5py.File]:
    """Open the file for reading.

    Every error with it in the block becomes a DatasetError with the reason. `task`: the
    task of its demonstrations, if known; the advice about a missing file names it.
    """
    with hdf5.guarded(path):
        _check_seal(path, task)
        with h5py.File(path, "r") as file:
            yield file


def _check_seal(path: Path, task: str | None) -> None:
    if path.is_dir():
        raise DatasetError(f"{path}: expected a demonstrations file, but this is a folder")
    if not path.exists():
        make = f"altbench demos collect {task or 'TASK'} --out {path}"
        raise DatasetError(f"{path}: there is no such file; make it with: {make}")
    if path.stat().st_size == 0:
        raise DatasetError(f"{path}: the file is empty; remove it and collect again")
    with path.open("rb") as stream:
        block = stream.read(SEAL_BYTES)
    if not block.startswith(MAGIC):
        what = "an HDF5 file, but not one of altbench's" if block.startswith(b"\x89HDF\r\n") else "something else"
        raise DatasetError(f"{path}: expected demonstrations written by `altbench demos collect`, got {what}")
    if block != _block(path):
        raise DatasetError(f"{path}: truncated or changed since it was written; remove it and collect again")


def _block(path: Path) -> bytes:
    with path.open("rb") as stream:
        stream.seek(SEAL_BYTES)
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return (MAGIC + f"{digest} {path.stat().st_size}\n".encode()).ljust(SEAL_BYTES, b"\0")


def read_array(parent: h5py.Group, name: str, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """Read the array `name` directly inside `parent`.

    DatasetError unless it has exactly this type and shape.
    """
    found, where = hdf5.array(parent, name), hdf5.place(parent, name)
    _check_type(where, found, dtype, shape)
    hdf5.check_storage(where, found, STORAGE)
    return np.asarray(found[...])


def read_attribute(parent: h5py.Group, name: str, dtype: DTypeLike, shape: tuple[int, ...] = ()) -> NDArray[Any]:
    """Read the numeric attribute `name` of `parent`.

    DatasetError unless it has exactly this type and shape.
    """
    _check_type(hdf5.place(parent, f"@{name}"), hdf5.attribute(parent, name), dtype, shape)
    return np.asarray(parent.attrs[name])


def read_text(parent: h5py.Group, name: str) -> str:
    """Read the text attribute `name` of `parent`."""
    return hdf5.text(parent, name, MAX_TEXT)


def read_json(parent: h5py.Group, name: str) -> dict[str, Any]:
    """Read the JSON object in the text attribute `name` of `parent`."""
    return hdf5.json_object(hdf5.place(parent, f"@{name}"), read_text(parent, name))


class _Typed(Protocol):
    dtype: Any
    shape: Any


def _check_type(where: str, found: _Typed, dtype: DTypeLike, shape: tuple[int, ...]) -> None:
    expected = np.dtype(dtype)
    if found.dtype != expected or found.shape != shape:
        raise DatasetError(f"{where}: expected {expected} {shape}, got {found.dtype} {found.shape}")
