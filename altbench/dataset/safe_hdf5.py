"""HDF5 files that are read without being trusted.

A sealed file begins with a 512-byte user block (which HDF5 and robomimic skip) that holds the SHA-256 of all that
follows, so that damage is found before HDF5 parses it, whichever part of the file is wanted. What is inside is checked
as well: type, shape, stored size and filters of an array are looked at before memory is reserved for it, links that
lead out of the file are refused, and so is everything that Python would have to unpickle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from altbench.core.errors import AltbenchError, DatasetError

SEAL_BYTES = 512
MAGIC = b"altbench sealed hdf5 1\n"
FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE}
MAX_DEFLATE_RATIO = 1100  # deflate reaches 1032; what claims more was never written
MAX_TEXT = 1 << 16


@contextmanager
def create(path: Path) -> Iterator[h5py.File]:
    """The new file `path`, to be filled within the block and sealed after it."""
    with h5py.File(path, "w", userblock_size=SEAL_BYTES) as file:
        yield file
    seal(path)


def seal(path: Path) -> None:
    """Write the user block of the HDF5 file `path`, which must have been made with one of `SEAL_BYTES`."""
    block = _block(path)
    with path.open("r+b") as stream:
        stream.write(block)


@contextmanager
def open_sealed(path: Path, task: str | None = None) -> Iterator[h5py.File]:
    """The file opened for reading; whatever goes wrong with it in the block becomes a DatasetError with the reason.

    `task`: whose demonstrations it is to hold, where that is known; where there is no file, the advice names it.
    """
    try:
        _check_seal(path, task)
        with h5py.File(path, "r") as file:
            yield file
    except AltbenchError:
        raise
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError, TypeError, ... for what it cannot read
        raise DatasetError(f"{path}: cannot be read: {type(error).__name__}: {error}") from error


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


def child_group(parent: h5py.Group, name: str) -> h5py.Group:
    """The group `name` directly inside `parent`; DatasetError where it is missing or leads elsewhere."""
    child = _child(parent, name)
    if not isinstance(child, h5py.Group):
        raise DatasetError(f"{_where(parent, name)}: expected a group")
    return child


def read_array(parent: h5py.Group, name: str, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """The array `name` directly inside `parent`, of exactly this type and shape."""
    dataset = _child(parent, name)
    where = _where(parent, name)
    if not isinstance(dataset, h5py.Dataset):
        raise DatasetError(f"{where}: expected an array")
    _check_type(where, dataset, dtype, shape)
    _check_storage(where, dataset)
    return np.asarray(dataset[...])


def read_attribute(parent: h5py.Group, name: str, dtype: DTypeLike, shape: tuple[int, ...] = ()) -> NDArray[Any]:
    """The numeric attribute `name` of `parent`, of exactly this type and shape."""
    _check_type(_where(parent, f"@{name}"), _attribute(parent, name), dtype, shape)
    return np.asarray(parent.attrs[name])


def read_text(parent: h5py.Group, name: str) -> str:
    """The text attribute `name` of `parent`."""
    attribute = _attribute(parent, name)
    if h5py.check_string_dtype(attribute.dtype) is None or attribute.shape != ():
        raise DatasetError(f"{_where(parent, f'@{name}')}: expected a text, got {attribute.dtype} {attribute.shape}")
    text = parent.attrs[name]
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise DatasetError(f"{_where(parent, f'@{name}')}: expected a text of at most {MAX_TEXT} characters")
    return text


def read_json(parent: h5py.Group, name: str) -> dict[str, Any]:
    """The JSON object in the text attribute `name` of `parent`."""
    try:
        found = json.loads(read_text(parent, name))
    except ValueError as error:
        raise DatasetError(f"{_where(parent, f'@{name}')}: expected JSON: {error}") from None
    if not isinstance(found, dict):
        raise DatasetError(f"{_where(parent, f'@{name}')}: expected a JSON object, got {type(found).__name__}")
    return found


def _child(parent: h5py.Group, name: str) -> Any:
    link = parent.get(name, getlink=True)
    if link is None:
        raise DatasetError(f"{_where(parent, name)}: missing")
    if not isinstance(link, h5py.HardLink):
        raise DatasetError(f"{_where(parent, name)}: expected data, got a link to elsewhere")
    return parent[name]


def _attribute(parent: h5py.Group, name: str) -> Any:
    if name not in parent.attrs:
        raise DatasetError(f"{_where(parent, f'@{name}')}: missing")
    return parent.attrs.get_id(name)


def _check_type(where: str, found: Any, dtype: DTypeLike, shape: tuple[int, ...]) -> None:
    expected = np.dtype(dtype)
    if found.dtype != expected or found.shape != shape:
        raise DatasetError(f"{where}: expected {expected} {shape}, got {found.dtype} {found.shape}")


def _check_storage(where: str, dataset: h5py.Dataset) -> None:
    """Refuse arrays kept outside the file, packed by plug-ins, or larger than what is stored of them can be."""
    settings = dataset.id.get_create_plist()
    filters = {settings.get_filter(i)[0] for i in range(settings.get_nfilters())}
    if dataset.external or dataset.is_virtual or not filters <= FILTERS:
        raise DatasetError(f"{where}: expected plain or gzip-compressed data inside the file")
    if any(chunk > whole for chunk, whole in zip(dataset.chunks or (), dataset.shape, strict=False)):
        raise DatasetError(f"{where}: expected chunks no larger than the array {dataset.shape}, got {dataset.chunks}")
    stored = dataset.id.get_storage_size()
    if dataset.nbytes > MAX_DEFLATE_RATIO * stored:
        raise DatasetError(f"{where}: claims {dataset.nbytes:,} bytes, but only {stored:,} are stored")


def _where(parent: h5py.Group, name: str) -> str:
    return f"{parent.file.filename}: {str(parent.name).rstrip('/')}/{name}"
