"""HDF5 files of unknown origin, read without trust: every type, shape and size is looked at before memory is reserved.

Links that lead elsewhere are refused, and so is everything that Python would have to unpickle.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from altbench.api import AltbenchError, DatasetError

MAX_FRAMES = 100_000  # of one episode: 83 minutes at 20 Hz
MAX_EPISODES = 100_000
MAX_ARRAY_BYTES = 8 << 30
MAX_DEFLATE_RATIO = 1100  # deflate reaches 1032; what claims more was never written
MAX_TEXT = 16 << 20
FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_LZF, h5py.h5z.FILTER_FLETCHER32}
NUMBERS = "fiub"  # numpy's kinds: float, int, unsigned, bool


@contextmanager
def reading(path: Path) -> Iterator[h5py.File]:
    """The file opened for reading; whatever goes wrong with it in the block becomes a DatasetError with the reason."""
    if not path.is_file():
        raise DatasetError(f"{path}: expected an HDF5 file, but there is {'a folder' if path.is_dir() else 'none'}")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except AltbenchError:
        raise
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError, TypeError, ... for what it cannot read
        raise DatasetError(f"{path}: cannot be read: {type(error).__name__}: {error}") from error


def group(parent: h5py.Group, name: str) -> h5py.Group:
    """The group `name` directly inside `parent`; DatasetError where it is missing or leads elsewhere."""
    found = _child(parent, name)
    if not isinstance(found, h5py.Group):
        raise DatasetError(f"{_where(parent, name)}: expected a group, got an array")
    return found


def numbered(parent: h5py.Group, prefix: str) -> list[str]:
    """Names of `parent`'s members `PREFIX0`, `PREFIX1`, ..., by number; DatasetError where there are none."""
    if len(parent) > MAX_EPISODES:
        raise DatasetError(f"{_where(parent, '')}: expected at most {MAX_EPISODES:,} members, got {len(parent):,}")
    found = [name for name in parent if re.fullmatch(re.escape(prefix) + r"\d{1,9}", name)]
    if not found:
        raise DatasetError(f"{_where(parent, '')}: expected {prefix}0, {prefix}1, ..., got {sorted(parent)[:5]}")
    return sorted(found, key=lambda name: int(name.removeprefix(prefix)))


def numbers(parent: h5py.Group, name: str, columns: int | None = None) -> NDArray[np.float64]:
    """The array `name`, float64 (T, columns), or (T,) without `columns`; 1 to MAX_FRAMES rows, all finite."""
    found = _dataset(parent, name)
    shape = (None,) if columns is None else (None, columns)
    _check_shape(_where(parent, name), found, NUMBERS, shape)
    values = np.asarray(found[...], dtype=np.float64)
    if not np.isfinite(values).all():
        raise DatasetError(f"{_where(parent, name)}: expected finite values, got NaN or infinity")
    return values


def images(parent: h5py.Group, name: str, frames: int) -> NDArray[np.uint8]:
    """The images `name`, uint8 (frames, H, W, 3)."""
    found = _dataset(parent, name)
    _check_shape(_where(parent, name), found, "u", (frames, None, None, 3))
    if found.dtype != np.uint8 or not all(8 <= side <= 2048 for side in found.shape[1:3]):
        raise DatasetError(f"{_where(parent, name)}: expected uint8 images of 8 to 2048 pixels, got {_kind(found)}")
    return np.asarray(found[...], dtype=np.uint8)


def image_size(parent: h5py.Group, name: str) -> tuple[int, int]:
    """(H, W) of the images `name`."""
    found = _dataset(parent, name)
    if found.ndim != 4:
        raise DatasetError(f"{_where(parent, name)}: expected images (T, H, W, 3), got {_kind(found)}")
    return int(found.shape[1]), int(found.shape[2])


def width(parent: h5py.Group, name: str) -> int:
    """Columns of the array `name`, which must have two dimensions."""
    found = _dataset(parent, name)
    if found.ndim != 2:
        raise DatasetError(f"{_where(parent, name)}: expected an array of two dimensions, got {_kind(found)}")
    return int(found.shape[1])


def text(parent: h5py.Group, name: str) -> str:
    """The text attribute `name` of `parent`."""
    where = _where(parent, f"@{name}")
    if name not in parent.attrs:
        raise DatasetError(f"{where}: missing")
    attribute = parent.attrs.get_id(name)
    if h5py.check_string_dtype(attribute.dtype) is None or attribute.shape != ():
        raise DatasetError(f"{where}: expected a text, got {attribute.dtype} {attribute.shape}")
    found = parent.attrs[name]
    found = found.decode("utf-8") if isinstance(found, bytes) else found
    if not isinstance(found, str) or len(found) > MAX_TEXT:
        raise DatasetError(f"{where}: expected a text of at most {MAX_TEXT:,} characters")
    return found


def optional_text(parent: h5py.Group, name: str) -> str:
    """The text attribute `name` of `parent`, "" where there is none."""
    return text(parent, name) if name in parent.attrs else ""


def vector(parent: h5py.Group, name: str, length: int) -> NDArray[np.float64]:
    """The attribute `name` of `parent`, float64 (length,), finite."""
    where = _where(parent, f"@{name}")
    if name not in parent.attrs:
        raise DatasetError(f"{where}: missing")
    attribute = parent.attrs.get_id(name)
    if attribute.dtype.kind != "f" or attribute.shape != (length,):
        raise DatasetError(f"{where}: expected {length} numbers, got {attribute.dtype} {attribute.shape}")
    values = np.asarray(parent.attrs[name], dtype=np.float64)
    if not np.isfinite(values).all():
        raise DatasetError(f"{where}: expected finite values, got {values}")
    return values


def json_object(where: str, content: str) -> dict[str, Any]:
    """`content` parsed as a JSON object."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{where}: expected JSON: {error}") from None
    if not isinstance(found, dict):
        raise DatasetError(f"{where}: expected a JSON object, got {type(found).__name__}")
    return found


def _child(parent: h5py.Group, name: str) -> Any:
    link = parent.get(name, getlink=True)
    if link is None:
        raise DatasetError(f"{_where(parent, name)}: missing")
    if not isinstance(link, h5py.HardLink):
        raise DatasetError(f"{_where(parent, name)}: expected data, got a link to elsewhere")
    return parent[name]


def _dataset(parent: h5py.Group, name: str) -> h5py.Dataset:
    """The array `name`, which lies inside the file, packed in no unknown way, and claims no more than is stored."""
    found, where = _child(parent, name), _where(parent, name)
    if not isinstance(found, h5py.Dataset):
        raise DatasetError(f"{where}: expected an array, got a group")
    settings = found.id.get_create_plist()
    filters = {settings.get_filter(i)[0] for i in range(settings.get_nfilters())}
    if found.external or found.is_virtual or not filters <= FILTERS:
        raise DatasetError(f"{where}: expected plain, gzip- or lzf-compressed data inside the file")
    stored = int(found.id.get_storage_size())
    if found.nbytes > MAX_DEFLATE_RATIO * stored or found.nbytes > MAX_ARRAY_BYTES:
        raise DatasetError(f"{where}: claims {found.nbytes:,} bytes, but {stored:,} are stored")
    if any(chunk > max(64 * whole, 1024) for chunk, whole in zip(found.chunks or (), found.shape, strict=False)):
        raise DatasetError(f"{where}: expected chunks about as large as the array {found.shape}, got {found.chunks}")
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


def _where(parent: h5py.Group, name: str) -> str:
    return f"{parent.file.filename}: {str(parent.name).rstrip('/')}/{name}"
