"""Reading of other projects' HDF5 files without trusting them.

The guards of `altbench.api.hdf5` and limits on types, shapes and sizes apply before
memory is reserved. Links that lead out of the file are refused, and so is everything
that Python would have to unpickle.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from altbench.api import DatasetError, EpisodeUnusable, hdf5

MAX_FRAMES = 100_000
"""Frames of one episode, at most: 83 minutes at 20 Hz."""
MAX_EPISODES = 100_000
"""Members of a group of episodes, at most. All their names are listed."""
MAX_TEXT = 16 << 20
"""Characters of a text attribute, at most. robosuite's models are far smaller."""
MAX_WORD = 256
"""Bytes of one text in a list of names, at most."""
STORAGE = hdf5.Storage(
    frozenset({h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_LZF, h5py.h5z.FILTER_FLETCHER32}),
    "plain, gzip- or lzf-compressed",
    chunk_factor=64,
    free_chunk=1024,
    max_bytes=8 << 30,
)
"""Other projects also use lzf and checksums, and chunks longer than a short episode."""
NUMBERS = "fiub"
"""numpy's kinds of numbers: float, int, unsigned, bool."""


@contextmanager
def reading(path: Path) -> Iterator[h5py.File]:
    """Open the file for reading.

    Every error with it in the block becomes a DatasetError with the reason.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "a path where no file exists"
        raise DatasetError(f"{path}: expected an HDF5 file, got {found}")
    with hdf5.guarded(path), h5py.File(path, "r") as file:
        yield file


def numbered(parent: h5py.Group, prefix: str) -> list[str]:
    """Return the names of `parent`'s members `PREFIX0`, `PREFIX1`, ..., by number.

    DatasetError if there are no such members.
    """
    if len(parent) > MAX_EPISODES:
        raise DatasetError(f"{hdf5.place(parent, '')}: expected at most {MAX_EPISODES:,} members, got {len(parent):,}")
    found = [name for name in parent if re.fullmatch(re.escape(prefix) + r"\d{1,9}", name)]
    if not found:
        raise DatasetError(f"{hdf5.place(parent, '')}: expected {prefix}0, {prefix}1, ..., got {sorted(parent)[:5]}")
    return sorted(found, key=lambda name: int(name.removeprefix(prefix)))


def numbers(parent: h5py.Group, name: str, columns: int | None = None) -> NDArray[np.float64]:
    """Read the array `name` as float64 (T, columns), or (T,) without `columns`.

    DatasetError unless it has 1 to MAX_FRAMES rows; EpisodeUnusable unless all values
    are finite.
    """
    found = _dataset(parent, name)
    shape = (None,) if columns is None else (None, columns)
    _check_shape(hdf5.place(parent, name), found, NUMBERS, shape)
    values = np.asarray(found[...], dtype=np.float64)
    if not np.isfinite(values).all():
        raise EpisodeUnusable(f"{hdf5.place(parent, name)}: expected finite values, got NaN or infinity")
    return values


def images(parent: h5py.Group, name: str, frames: int) -> NDArray[np.uint8]:
    """Read the images `name`, uint8 (frames, H, W, 3)."""
    found = _dataset(parent, name)
    _check_shape(hdf5.place(parent, name), found, "u", (frames, None, None, 3))
    if found.dtype != np.uint8 or not all(8 <= side <= 2048 for side in found.shape[1:3]):
        raise DatasetError(f"{hdf5.place(parent, name)}: expected uint8 images of 8 to 2048 pixels, got {_kind(found)}")
    return np.asarray(found[...], dtype=np.uint8)


def image_size(parent: h5py.Group, name: str) -> tuple[int, int]:
    """Return the size (H, W) of the images `name`."""
    found = _dataset(parent, name)
    if found.ndim != 4:
        raise DatasetError(f"{hdf5.place(parent, name)}: expected images (T, H, W, 3), got {_kind(found)}")
    return int(found.shape[1]), int(found.shape[2])


def width(parent: h5py.Group, name: str) -> int:
    """Count the columns of the array `name`, which must have two dimensions."""
    found = _dataset(parent, name)
    if found.ndim != 2:
        raise DatasetError(f"{hdf5.place(parent, name)}: expected an array of two dimensions, got {_kind(found)}")
    return int(found.shape[1])


def text(parent: h5py.Group, name: str) -> str:
    """Read the text attribute `name` of `parent`."""
    return hdf5.text(parent, name, MAX_TEXT, fixed_length=True)


def optional_text(parent: h5py.Group, name: str) -> str:
    """Read the text attribute `name` of `parent`; "" if it is missing."""
    return text(parent, name) if name in parent.attrs else ""


def texts(parent: h5py.Group, name: str) -> list[str]:
    """Read the short texts `name` (T,), of fixed or of variable length."""
    found = _dataset(parent, name)
    is_text = found.dtype.kind == "S" or h5py.check_string_dtype(found.dtype) is not None
    if not is_text or found.ndim != 1 or not 0 <= found.shape[0] <= MAX_EPISODES or found.dtype.itemsize > MAX_WORD:
        raise DatasetError(f"{hdf5.place(parent, name)}: expected a list of names, got {_kind(found)}")
    return [bytes(each).decode("utf-8", "replace") for each in found[...]]


def vector(parent: h5py.Group, name: str, length: int) -> NDArray[np.float64]:
    """Read the attribute `name` of `parent`: float64 (length,), all finite."""
    where, attribute = hdf5.place(parent, f"@{name}"), hdf5.attribute(parent, name)
    if attribute.dtype.kind != "f" or attribute.shape != (length,):
        raise DatasetError(f"{where}: expected {length} numbers, got {attribute.dtype} {attribute.shape}")
    values = np.asarray(parent.attrs[name], dtype=np.float64)
    if not np.isfinite(values).all():
        raise DatasetError(f"{where}: expected finite values, got {values}")
    return values


def _dataset(parent: h5py.Group, name: str) -> h5py.Dataset:
    """Return the array `name`, unread, once its storage is checked."""
    found = hdf5.array(parent, name)
    hdf5.check_storage(hdf5.place(parent, name), found, STORAGE)
    return found


def _check_shape(where: str, found: h5py.Dataset, kinds: str, shape: tuple[int | None, ...]) -> None:
    fits = len(found.shape) == len(shape) and all(w in (None, n) for w, n in zip(shape, found.shape, strict=True))
    if found.dtype.kind not in kinds or not fits:
        wanted = "(" + ", ".join("any" if side is None else str(side) for side in shape) + ")"
        raise DatasetError(f"{where}: expected numbers of shape {wanted}, got {_kind(found)}")
    if not 1 <= found.shape[0] <= MAX_FRAMES:
        raise DatasetError(f"{where}: expected 1 to {MAX_FRAMES:,} frames, got {found.shape[0]:,}")


def _kind(found: h5py.Dataset) -> str:
    return f"{found.dtype} {found.shape}"
