"""Hostile files: each ends in one DatasetError, or in sound demonstrations; nothing else happens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import state_viewers
from hypothesis import given, settings
from hypothesis import strategies as st

from altbench.core import registry
from altbench.core.demonstration import ImportOptions
from altbench.core.errors import DatasetError

WRITERS = {"robosuite": state_viewers.write_robosuite, "robomimic": state_viewers.write_robomimic}
formats = st.sampled_from(sorted(WRITERS))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the examples of property tests to overwrite files in."""
    return tmp_path_factory.mktemp("fuzz")


def read(format_name: str, path: Path) -> int:
    recording = registry.importer(format_name)(path, state_viewers.TinyViewer(), ImportOptions(image_size=(8, 8)))
    found = list(recording.demonstrations)
    for reason in recording.unusable.values():
        raise DatasetError(reason)
    return len(found)


def demo_of(file: h5py.File) -> h5py.Group:
    return file["data"][sorted(file["data"])[0]]


@settings(max_examples=40, deadline=None)
@given(format_name=formats, share=st.floats(0, 1, exclude_max=True))
def test_truncated(scratch: Path, format_name: str, share: float) -> None:
    path = WRITERS[format_name](scratch / "truncated.hdf5")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DatasetError):
        read(format_name, path)


odd_arrays = st.one_of(
    st.lists(st.integers(0, 5), max_size=4).map(np.zeros),
    st.sampled_from([np.float32, np.int8, np.uint64, np.complex128, np.bool_, "S4"]).map(lambda d: np.zeros((8, 7), d)),
    st.sampled_from([np.nan, np.inf, -np.inf, 1e308]).map(lambda v: np.full((8, 18), v)),
)


@settings(max_examples=80, deadline=None)
@given(format_name=formats, name=st.sampled_from(["states", "actions"]), array=odd_arrays)
def test_wrong_shapes_types_and_values(scratch: Path, format_name: str, name: str, array: Any) -> None:
    path = WRITERS[format_name](scratch / "odd.hdf5")
    with h5py.File(path, "r+") as file:
        demo = demo_of(file)
        del demo[name]
        demo[name] = array
    fits = name == "actions" and array.shape == (8, 7) and array.dtype.kind in "fiub"
    if fits:
        assert read(format_name, path) > 0
    else:
        with pytest.raises(DatasetError, match=r"odd\.hdf5"):
            read(format_name, path)


@pytest.mark.parametrize("format_name", WRITERS)
@pytest.mark.parametrize("name", ["states", "actions"])
def test_absurd_sizes_reserve_no_memory(tmp_path: Path, format_name: str, name: str) -> None:
    path = WRITERS[format_name](tmp_path / "huge.hdf5")
    with h5py.File(path, "r+") as file:
        demo = demo_of(file)
        del demo[name]
        demo.create_dataset(name, shape=(1 << 40, 18), dtype="f8", chunks=(1024, 18))
    with pytest.raises(DatasetError, match=r"claims 158,329,674,399,744 bytes, but only 0 are stored"):
        read(format_name, path)


@pytest.mark.parametrize("format_name", WRITERS)
def test_links_objects_and_groups_in_place_of_arrays(tmp_path: Path, format_name: str) -> None:
    def link(demo: h5py.Group) -> None:
        demo["states"] = h5py.ExternalLink("other.hdf5", "/data")

    def objects(demo: h5py.Group) -> None:
        demo.create_dataset("states", data=["text"] * 8, dtype=h5py.string_dtype())

    def group(demo: h5py.Group) -> None:
        demo.create_group("states")

    for change, reason in ((link, "a link to elsewhere"), (objects, "two dimensions"), (group, "got a group")):
        path = WRITERS[format_name](tmp_path / "x.hdf5")
        with h5py.File(path, "r+") as file:
            del demo_of(file)["states"]
            change(demo_of(file))
        with pytest.raises(DatasetError, match=reason):
            read(format_name, path)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from(
    ["env_name", "type", "env_kwargs", "env_version", "robots", "controller_configs", "control_freq"]
)


@settings(max_examples=80, deadline=None)
@given(format_name=formats, key=keys, value=values, nested=st.booleans())
def test_odd_descriptions(scratch: Path, format_name: str, key: str, value: Any, nested: bool) -> None:
    path = WRITERS[format_name](scratch / "described.hdf5")
    attribute = "env_info" if format_name == "robosuite" else "env_args"
    with h5py.File(path, "r+") as file:
        info = json.loads(file["data"].attrs[attribute])
        (info.get("env_kwargs", info) if nested else info)[key] = value
        file["data"].attrs[attribute] = json.dumps(info)
    try:
        assert read(format_name, path) > 0
    except DatasetError as error:
        assert "described.hdf5" in str(error)


@settings(max_examples=60, deadline=None)
@given(format_name=formats, text=st.text(max_size=40) | st.sampled_from(["[" * 100_000, '{"a":' * 50_000, "[]", "{}"]))
def test_descriptions_that_are_not_json(scratch: Path, format_name: str, text: str) -> None:
    path = WRITERS[format_name](scratch / "text.hdf5")
    with h5py.File(path, "r+") as file:
        del file["data"].attrs["env_info" if format_name == "robosuite" else "env_args"]
        try:
            file["data"].attrs["env_info" if format_name == "robosuite" else "env_args"] = text
        except (ValueError, UnicodeEncodeError, OSError):
            return  # HDF5 itself refuses to store it
    with pytest.raises(DatasetError):
        read(format_name, path)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, len(state_viewers.OLD_MODEL)), insert=st.text(alphabet='<>/"&;= !ab\x00joint', max_size=12))
def test_odd_models(scratch: Path, cut: int, insert: str) -> None:
    from altbench_demos.formats import mjcf

    xml = state_viewers.OLD_MODEL[:cut] + insert + state_viewers.OLD_MODEL[cut:]
    try:
        assert mjcf.map_states(state_viewers.old(state_viewers.states()), xml, state_viewers.NATIVE, "model").shape == (
            8,
            18,
        )
    except DatasetError as error:
        assert str(error).startswith("model:")


def test_entities_are_not_expanded() -> None:
    from altbench_demos.formats import mjcf

    laughs = '<!DOCTYPE m [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><mujoco>&b;</mujoco>'
    outside = '<!DOCTYPE m SYSTEM "file:///etc/passwd"><mujoco/>'
    for xml in (laughs, outside):
        with pytest.raises(DatasetError, match="without document type and entities"):
            mjcf.joint_types(xml, "model")
