"""The guards on HDF5 files: what they refuse, and what they let through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from altbench.core.errors import ConfigError, DatasetError
from altbench.system import hdf5

GZIP = hdf5.Storage(frozenset({h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE}), "plain or gzip-compressed")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[h5py.File]:
    with h5py.File(tmp_path / "x.hdf5", "w") as made:
        yield made


def check(file: h5py.File, allowed: hdf5.Storage = GZIP) -> None:
    hdf5.check_storage("x", hdf5.array(file, "a"), allowed)


@pytest.mark.parametrize("options", [{}, {"compression": "gzip", "shuffle": True, "chunks": (4, 2)}])
def test_plain_and_allowed_compressed_arrays_pass(file: h5py.File, options: dict[str, Any]) -> None:
    file.create_dataset("a", data=np.arange(8.0).reshape(4, 2), **options)
    check(file)


def test_a_filter_that_is_not_allowed_is_refused(file: h5py.File) -> None:
    file.create_dataset("a", data=np.zeros((4, 2)), compression="lzf")
    with pytest.raises(DatasetError, match="x: expected plain or gzip-compressed data inside the file"):
        check(file)
    check(file, replace(GZIP, filters=GZIP.filters | {h5py.h5z.FILTER_LZF}))


@pytest.mark.parametrize("kind", ["external", "virtual"])
def test_data_of_another_file_is_refused(file: h5py.File, kind: str) -> None:
    if kind == "external":
        file.create_dataset("a", shape=(2,), dtype="f8", external=[("/etc/passwd", 0, 16)])
    else:
        layout = h5py.VirtualLayout(shape=(2,), dtype="f8")
        layout[:] = h5py.VirtualSource("other.hdf5", "b", shape=(2,))
        file.create_virtual_dataset("a", layout)
    with pytest.raises(DatasetError, match="inside the file"):
        check(file)


def test_an_array_that_claims_more_than_is_stored_is_refused(file: h5py.File) -> None:
    file.create_dataset("a", shape=(1 << 40,), dtype="u1", chunks=(1024,))
    with pytest.raises(DatasetError, match="claims 1,099,511,627,776 bytes, but only 0 are stored"):
        check(file)


def test_an_array_of_more_bytes_than_allowed_is_refused(file: h5py.File) -> None:
    file["a"] = np.zeros(100)
    check(file, replace(GZIP, max_bytes=800))
    with pytest.raises(DatasetError, match="expected at most 799 bytes, got 800"):
        check(file, replace(GZIP, max_bytes=799))


def test_chunks_longer_than_allowed_are_refused(file: h5py.File) -> None:
    file.create_dataset("a", data=np.zeros(4), maxshape=(None,), chunks=(256,))
    with pytest.raises(DatasetError, match=r"expected chunks no larger than \(4,\), got \(256,\)"):
        check(file)
    check(file, replace(GZIP, chunk_factor=64))
    check(file, replace(GZIP, free_chunk=256))
    with pytest.raises(DatasetError, match=r"no larger than \(255,\)"):
        check(file, replace(GZIP, chunk_factor=63, free_chunk=255))


@pytest.mark.parametrize("link", [h5py.SoftLink("/b"), h5py.ExternalLink("other.hdf5", "/b")])
def test_links_are_not_followed(file: h5py.File, link: Any) -> None:
    file.create_group("b")
    file["a"] = link
    for read in (hdf5.group, hdf5.array):
        with pytest.raises(DatasetError, match=r"x\.hdf5: /a: expected data, got a link to elsewhere"):
            read(file, "a")


def test_missing_members_and_those_of_another_kind_are_refused(file: h5py.File) -> None:
    file["a"], _ = [1], file.create_group("b")
    for read, name, reason in (
        (hdf5.array, "c", "/c: missing"),
        (hdf5.group, "a", "/a: expected a group, got an array"),
        (hdf5.array, "b", "/b: expected an array, got a group"),
        (hdf5.attribute, "d", "/@d: missing"),
    ):
        with pytest.raises(DatasetError, match=reason):
            read(file, name)


def test_texts_are_read_up_to_their_length_and_fixed_ones_only_if_allowed(file: h5py.File) -> None:
    file.attrs.update({"text": "häm", "fixed": np.bytes_("ham"), "number": 3, "texts": ["a", "b"]})
    assert hdf5.text(file, "text", longest=3) == "häm"
    assert hdf5.text(file, "fixed", longest=3, fixed_length=True) == "ham"
    for name, options in (("text", {"longest": 2}), ("fixed", {"longest": 3}), ("number", {"longest": 3})):
        with pytest.raises(DatasetError, match=rf"/@{name}: expected a text"):
            hdf5.text(file, name, **options)
    with pytest.raises(DatasetError, match="expected a text, got object"):
        hdf5.text(file, "texts", longest=3)


def test_json_is_an_object_or_refused() -> None:
    assert hdf5.json_object("x", '{"a": [1]}') == {"a": [1]}
    for content, reason in (("{", "x: expected JSON"), ("[]", "got list"), ("[" * 100_000, "x: expected JSON")):
        with pytest.raises(DatasetError, match=reason):
            hdf5.json_object("x", content)


def test_guarded_keeps_our_errors_and_turns_others_into_dataset_errors() -> None:
    with pytest.raises(DatasetError, match="f: cannot be read: KeyError: 'a'"), hdf5.guarded(Path("f")):
        raise KeyError("a")
    with pytest.raises(ConfigError, match=r"^ours$"), hdf5.guarded(Path("f")):
        raise ConfigError("ours")
