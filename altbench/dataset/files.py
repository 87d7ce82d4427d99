"""Files of demonstrations: writing, reading and checking them.

`altbench.dataset.format` says what a file contains.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from altbench.core import registry
from altbench.core.demonstration import Demonstration
from altbench.core.errors import ConfigError, DatasetError
from altbench.dataset import format, safe_hdf5
from altbench.dataset.format import Arrays, DatasetMeta, digest
from altbench.system import hdf5
from altbench.system.files import replacing

CHUNK_FRAMES = 8
"""Frames of images that are compressed together. 30 demonstrations of Lift (45 MB of
images) become 10.0 MB, against 14.8 MB with 1 frame and 9.5 MB with 32 frames."""
GZIP_LEVEL = 4
"""The images' compression level. The same file is written in 0.4 s and read in 0.1 s;
level 6 saves 14 % and takes three times as long to write."""
MAX_BYTES = 64 << 30
"""Bytes of images in a file, at most. A larger claim is refused before loading."""


@dataclass(frozen=True)
class Dataset:
    """A file's contents.

    `checksum` is their `digest`. It does not depend on how HDF5 stores them.
    """

    meta: DatasetMeta
    demonstrations: tuple[Demonstration, ...]
    checksum: str

    def __len__(self) -> int:
        return len(self.demonstrations)


@dataclass(frozen=True)
class DatasetInfo:
    """A file's contents without its arrays.

    `lengths` (frames), `successes` and `grid_indices` (-1: off the grid) have one value
    for each demonstration. `file_bytes`: the file's size.
    """

    meta: DatasetMeta
    lengths: tuple[int, ...]
    successes: tuple[bool, ...]
    grid_indices: tuple[int, ...]
    checksum: str
    file_bytes: int


def write(path: Path | str, demonstrations: Iterable[Demonstration], meta: DatasetMeta) -> str:
    """Write demonstrations 0, 1, 2, ... to `path` and return their checksum.

    The file is written under another name in the same folder, read back, flushed to
    disk and only then moved into place. So at any moment `path` is missing, the old
    file or the new one. DatasetError if a demonstration does not agree with `meta`.
    """
    path = Path(path)
    try:
        with replacing(path) as temporary:
            with safe_hdf5.create(temporary) as file:
                checksum = _write_contents(file.create_group("data"), demonstrations, meta)
            read(temporary)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be written: {error.strerror or error}") from error
    return checksum


def _write_contents(data: h5py.Group, demonstrations: Iterable[Demonstration], meta: DatasetMeta) -> str:
    written: list[int] = []

    def each() -> Iterator[Demonstration]:
        for i, demonstration in enumerate(demonstrations):
            if demonstration.index != i:
                raise DatasetError(f"expected demonstration {i} next, got number {demonstration.index}")
            format.check(demonstration, meta)
            _write_demonstration(data.create_group(f"demo_{i}"), demonstration)
            written.append(len(demonstration))
            yield demonstration

    checksum = digest(meta, each())
    if not written:
        raise DatasetError("expected at least one demonstration, got none")
    data.attrs["env_args"] = meta.env_args
    data.attrs["total"] = np.int64(sum(written))
    data.attrs["altbench"] = meta.canonical()
    data.attrs["checksum"] = checksum
    return checksum


def _write_demonstration(group: h5py.Group, demonstration: Demonstration) -> None:
    last = np.arange(len(demonstration)) == len(demonstration) - 1
    group["rewards"] = (last & demonstration.success).astype(np.float64)
    group["dones"] = last.astype(np.int64)
    for name, value in format.attributes(demonstration).items():
        group.attrs[name] = value
    for name, array in format.arrays(demonstration).items():
        if array.dtype == np.uint8:
            chunks = (min(CHUNK_FRAMES, len(array)), *array.shape[1:])
            group.create_dataset(name, data=array, chunks=chunks, compression="gzip", compression_opts=GZIP_LEVEL)
        else:
            group.create_dataset(name, data=array)


def read(path: Path | str, task: str | None = None) -> Dataset:
    """Read and check everything in `path`.

    DatasetError with the reason if it cannot be used, or is not of `task`.
    """
    path = Path(path)
    with safe_hdf5.open_sealed(path, task or _task_of(path)) as file:
        meta, checksum, groups = _read_header(path, file, task)
        demonstrations = tuple(_read_demonstration(group, i, meta) for i, group in enumerate(groups))
    found = digest(meta, demonstrations)
    if found != checksum:
        raise DatasetError(f"{path}: expected contents with the checksum {checksum}, got {found}; collect again")
    return Dataset(meta, demonstrations, checksum)


def info(path: Path | str) -> DatasetInfo:
    """Describe the contents of `path` without loading its images.

    DatasetError as for `read`.
    """
    path = Path(path)
    with safe_hdf5.open_sealed(path, _task_of(path)) as file:
        meta, checksum, groups = _read_header(path, file, None)
        return DatasetInfo(
            meta=meta,
            lengths=tuple(_number(group, "num_samples") for group in groups),
            successes=tuple(bool(_number(group, "success")) for group in groups),
            grid_indices=tuple(_number(group, "grid_index") for group in groups),
            checksum=checksum,
            file_bytes=path.stat().st_size,
        )


def _task_of(path: Path) -> str | None:
    """Return the task that a file is named after, as `altbench demos collect` names it.

    None if the file has another name.
    """
    name = path.stem.removesuffix("-uniform")
    return name if name in registry.names("task") else None


def _read_header(path: Path, file: h5py.File, task: str | None) -> tuple[DatasetMeta, str, list[h5py.Group]]:
    """Return settings, checksum and the demonstrations' groups.

    DatasetError if the number or size of the demonstrations is implausible.
    """
    # Before any array is read, so that a forged size reserves no memory.
    data = hdf5.group(file, "data")
    meta = _read_meta(path, data)
    if task is not None and meta.task != task:
        raise DatasetError(f"{path}: expected demonstrations of {task}, got {meta.task}")
    groups = [hdf5.group(data, f"demo_{i}") for i in range(len(data))]
    lengths, total = [_number(group, "num_samples") for group in groups], _number(data, "total")
    if min(lengths, default=0) < 1 or sum(lengths) != total:
        raise DatasetError(f"{path}: expected {total:,} frames, got {sum(lengths):,} in {len(groups)} demonstrations")
    if total * meta.frame_bytes > MAX_BYTES:
        raise DatasetError(f"{path}: expected at most {MAX_BYTES:,} bytes of images, got {total * meta.frame_bytes:,}")
    return meta, safe_hdf5.read_text(data, "checksum"), groups


def _read_meta(path: Path, data: h5py.Group) -> DatasetMeta:
    try:
        return DatasetMeta.parse(safe_hdf5.read_json(data, "altbench"), f"{path}: settings")
    except ConfigError as error:
        raise DatasetError(str(error)) from None


def _read_demonstration(group: h5py.Group, index: int, meta: DatasetMeta) -> Demonstration:
    stored: Arrays = {}
    for name, (dtype, shape) in format.attribute_layout(meta).items():
        stored[name] = safe_hdf5.read_attribute(group, name, dtype, shape)
    for name, (dtype, shape) in format.array_layout(meta, int(stored["num_samples"])).items():
        folder, _, leaf = name.rpartition("/")
        parent = hdf5.group(group, folder) if folder else group
        stored[name] = safe_hdf5.read_array(parent, leaf, dtype, shape)
    return format.demonstration(index, stored, meta)


def _number(group: h5py.Group, name: str) -> int:
    return int(safe_hdf5.read_attribute(group, name, np.int64))
