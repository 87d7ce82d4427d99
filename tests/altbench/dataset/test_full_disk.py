"""A disk that is full: one line, and nothing half-written. A limit of file sizes stands for it."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import fakes
import h5py
import numpy as np
import pytest

from altbench.core.errors import DatasetError
from altbench.dataset import exchange, files
from altbench.dataset.collecting import collect
from altbench.system import hdf5
from altbench_demos.formats import minari_set


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let the kernel refuse files over `size` bytes (EFBIG, from the same calls as ENOSPC)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "Fake.hdf5"
    files.write(path, fakes.make_demonstrations(3), fakes.make_meta())
    return path


def export(file: Path) -> None:
    exchange.export_file(file, "robomimic", str(file.with_name("out.hdf5")))


def write(file: Path) -> None:
    files.write(file, fakes.make_demonstrations(2), fakes.make_meta())


def extend(file: Path) -> None:
    collect("Fake", 2, file.with_name("out.hdf5"), image_size=(32, 32))


@pytest.mark.parametrize("work", [write, export, extend])
@pytest.mark.parametrize("size", [0, 1000, 6000])
def test_a_full_disk_is_one_line_and_leaves_nothing(file: Path, work: Callable[[Path], None], size: int) -> None:
    before = file.read_bytes()
    with room_for(size), pytest.raises(DatasetError, match=r"cannot be (written|made): File too large") as refused:
        work(file)
    assert "\n" not in str(refused.value)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["Fake.hdf5"]


def test_a_minari_set_that_cannot_be_written_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    with pytest.raises(DatasetError, match="set: cannot be written: no space"), minari_set._whole(folder):
        folder.mkdir()
        (folder / "half").write_text("")
        raise RuntimeError("no\nspace")
    assert not folder.exists()


@pytest.mark.parametrize("block", [0, 512])
def test_a_file_made_in_memory_has_the_bytes_of_one_made_on_disk(tmp_path: Path, block: int) -> None:
    def fill(file: h5py.File) -> None:
        file.attrs["name"] = "value"
        file.create_dataset("images", data=np.arange(90000, dtype=np.uint8), chunks=(500,), compression="gzip")
        file["group/values"] = np.arange(1000.0)

    with h5py.File(tmp_path / "disk", "w", userblock_size=block or None) as file:
        fill(file)
    with hdf5.created(tmp_path / "memory", block) as file:
        fill(file)
    assert (tmp_path / "memory").read_bytes() == (tmp_path / "disk").read_bytes()


def test_a_file_whose_filling_fails_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(KeyError), hdf5.created(tmp_path / "file") as file:
        file.create_group("group")
        raise KeyError
    assert list(tmp_path.iterdir()) == []
