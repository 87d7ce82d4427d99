"""Demonstration files: what goes in comes out, nothing damaged or foreign gets in, subsets are nested."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from altbench.core.demonstration import Demonstration
from altbench.core.errors import ConfigError, DatasetError
from altbench.core.task import InitialState
from altbench.dataset import files as dataset
from altbench.dataset import format, safe_hdf5, subsets

DEMONSTRATIONS = fakes.make_demonstrations(3)
META = fakes.make_meta()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A valid file."""
    file = tmp_path / "fake.hdf5"
    dataset.write(file, DEMONSTRATIONS, META)
    return file


@pytest.fixture(scope="module")
def valid_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("valid") / "fake.hdf5"
    dataset.write(file, DEMONSTRATIONS, META)
    return file.read_bytes()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file name for the examples of one property test to overwrite."""
    return tmp_path_factory.mktemp("scratch") / "file.hdf5"


def test_a_file_may_be_named_by_a_text(tmp_path: Path) -> None:
    text = str(tmp_path / "text.hdf5")
    checksum = dataset.write(text, DEMONSTRATIONS, META)
    assert dataset.read(text).checksum == dataset.info(text).checksum == checksum
    with pytest.raises(DatasetError, match=r"gone\.hdf5: there is no such file"):
        dataset.read(str(tmp_path / "gone.hdf5"))


@pytest.mark.parametrize(
    ("name", "task", "told"),
    [
        ("Lift.hdf5", None, "Lift"),
        ("Can-uniform.hdf5", None, "Can"),
        ("mine.hdf5", None, "TASK"),
        ("mine.hdf5", "Lift", "Lift"),
    ],
)
def test_a_missing_files_advice_names_the_task_where_it_is_known(
    tmp_path: Path, name: str, task: str | None, told: str
) -> None:
    with pytest.raises(DatasetError, match=f"make it with: altbench demos collect {told} --out .*{name}"):
        dataset.read(tmp_path / name, task)
    if task is None:
        with pytest.raises(DatasetError, match=f"altbench demos collect {told} --out"):
            dataset.info(tmp_path / name)


# ------------------------------------------------------------------------------------------------------- round trip


@st.composite
def files(draw: st.DrawFn) -> tuple[tuple[Demonstration, ...], format.DatasetMeta]:
    """Any demonstrations that agree on their lengths, and their settings."""
    small = st.integers(1, 5)
    size, dp, da, ds, de = (draw(small), draw(small)), draw(small), draw(small), draw(small), draw(st.integers(0, 3))
    cameras = tuple(draw(st.lists(st.sampled_from(["a", "wrist", "left_eye"]), unique=True)))
    floats = {width: st.floats(allow_nan=False, allow_infinity=False, width=width) for width in (32, 64)}

    def array(dtype: type, *shape: int) -> Any:
        elements = None if dtype is np.uint8 else floats[np.dtype(dtype).itemsize * 8]
        return draw(hnp.arrays(dtype, shape, elements=elements))

    demonstrations = [
        Demonstration(
            index=i,
            pixels={camera: array(np.uint8, frames, *size, 3) for camera in cameras},
            agent_pos=array(np.float32, frames, dp),
            actions=array(np.float32, frames, da),
            states=array(np.float64, frames, ds),
            initial_state=InitialState(array(np.float64, ds), array(np.float64, 2)),
            seed=draw(st.integers(-1, 2**63 - 1)),
            grid_index=draw(st.integers(-1, 5)),
            success=draw(st.booleans()),
            environment_state=array(np.float32, frames, de) if de else None,
        )
        for i, frames in enumerate(draw(st.lists(st.integers(1, 10), min_size=1, max_size=3)))
    ]
    dims = {"action_dim": da, "agent_pos_dim": dp, "state_dim": ds, "environment_state_dim": de}
    return tuple(demonstrations), fakes.make_meta(image_size=size, cameras=cameras, **dims)


def assert_same(a: Demonstration, b: Demonstration) -> None:
    for found, expected in ((format.arrays(a), format.arrays(b)), (vars_of(a), vars_of(b))):
        assert found.keys() == expected.keys()
        for name in expected:
            assert found[name].dtype == expected[name].dtype
            assert found[name].tobytes() == expected[name].tobytes(), name


def vars_of(d: Demonstration) -> dict[str, Any]:
    return {"index": np.array(d.index), "mode": np.array(d.control_mode), **format.attributes(d)}


@settings(max_examples=30, deadline=None)
@given(contents=files())
def test_what_is_written_is_read_bit_for_bit(scratch: Path, contents: Any) -> None:
    demonstrations, meta = contents
    checksum = dataset.write(scratch, demonstrations, meta)
    found = dataset.read(scratch)
    assert found.meta == meta
    assert found.checksum == checksum == format.digest(meta, demonstrations)
    assert len(found) == len(demonstrations)
    for a, b in zip(found.demonstrations, demonstrations, strict=True):
        assert_same(a, b)


def test_info_tells_the_same_as_read(path: Path) -> None:
    found = dataset.info(path)
    assert found.meta == META
    assert found.lengths == tuple(map(len, DEMONSTRATIONS))
    assert found.successes == (True, True, True)
    assert found.grid_indices == (0, 1, 2)
    assert found.checksum == dataset.read(path).checksum
    assert found.file_bytes == path.stat().st_size


def test_robomimic_finds_its_layout(path: Path) -> None:
    with h5py.File(path) as file:
        data = file["data"]
        assert json.loads(data.attrs["env_args"])["env_name"] == "altbench/Fake-v0"
        assert data.attrs["total"] == sum(map(len, DEMONSTRATIONS))
        demo = data["demo_1"]
        assert demo.attrs["num_samples"] == len(demo["actions"]) == len(DEMONSTRATIONS[1])
        assert set(demo["obs"]) == {"agentview_image", "wrist_image", "agent_pos"}
        assert demo["obs/wrist_image"].compression == "gzip"
        np.testing.assert_array_equal(demo["rewards"][:], [0.0] * (len(demo["actions"]) - 1) + [1.0])
        np.testing.assert_array_equal(demo["dones"][:], demo["rewards"][:])


def test_checksum_names_the_contents_not_the_bytes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = path.with_name("other.hdf5")
    monkeypatch.setattr(dataset, "GZIP_LEVEL", 9)
    monkeypatch.setattr(dataset, "CHUNK_FRAMES", 2)
    dataset.write(other, DEMONSTRATIONS, META)
    assert other.read_bytes() != path.read_bytes()
    assert dataset.info(other).checksum == dataset.info(path).checksum


@pytest.mark.parametrize("field", ["agent_pos", "actions", "states", "seed", "grid_index", "success"])
def test_checksum_changes_with_every_value(field: str) -> None:
    d = DEMONSTRATIONS[0]
    value = getattr(d, field)
    changed = replace(d, **{field: (not value) if field == "success" else value + 1})
    assert format.digest(META, [changed]) != format.digest(META, [d])
    assert format.digest(fakes.make_meta(root_seed=1), [d]) != format.digest(META, [d])


# ------------------------------------------------------------------------------------------------- damaged, foreign


@pytest.mark.parametrize("read", [dataset.read, dataset.info])
def test_a_file_that_does_not_hold_demonstrations_is_refused(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    foreign = tmp_path / "foreign.hdf5"
    with h5py.File(foreign, "w") as file:
        file["data"] = [1]
    (tmp_path / "empty.hdf5").touch()
    (tmp_path / "text.hdf5").write_text("hello")
    for name, reason in {
        "missing.hdf5": "there is no such file; make it with: altbench demos collect",
        "empty.hdf5": "the file is empty",
        "text.hdf5": "got something else",
        "foreign.hdf5": "got an HDF5 file, but not one of altbench's",
        ".": "this is a folder",
    }.items():
        with pytest.raises(DatasetError, match=reason):
            read(tmp_path / name)


def test_another_tasks_file_is_refused(path: Path) -> None:
    assert len(dataset.read(path, task="Fake")) == 3
    with pytest.raises(DatasetError, match="expected demonstrations of Lift, got Fake"):
        dataset.read(path, task="Lift")


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_truncated_files_are_refused(scratch: Path, valid_bytes: bytes, share: float) -> None:
    scratch.write_bytes(valid_bytes[: int(share * len(valid_bytes))])
    with pytest.raises(DatasetError):
        dataset.read(scratch)


@settings(max_examples=150, deadline=None)
@given(position=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255), sealed=st.booleans())
def test_a_changed_byte_is_refused_or_does_not_matter(
    scratch: Path, valid_bytes: bytes, position: float, mask: int, sealed: bool
) -> None:
    """`sealed`: the seal is renewed after the change, so that only the checks on the contents stand."""
    damaged = bytearray(valid_bytes)
    damaged[int(position * len(damaged))] ^= mask
    scratch.write_bytes(damaged)
    if sealed:
        safe_hdf5.seal(scratch)
    else:
        with pytest.raises(DatasetError):
            dataset.info(scratch)
    try:
        found = dataset.read(scratch)
    except DatasetError:
        return
    assert sealed
    assert found.meta == META
    for a, b in zip(found.demonstrations, DEMONSTRATIONS, strict=True):
        assert_same(a, b)


def replaced(name: str, **kwargs: Any) -> Callable[[h5py.File], None]:
    """Puts another array in place of demo_1's `name`."""

    def change(file: h5py.File) -> None:
        del file["data/demo_1"][name]
        file["data/demo_1"].create_dataset(name, **kwargs)

    return change


def relinked(name: str, link: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file["data/demo_1"][name]
        file["data/demo_1"][name] = link

    return change


def attribute(where: str, name: str, value: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[where].attrs[name] = value

    return change


def settings_with(**changes: Any) -> Callable[[h5py.File], None]:
    return attribute("data", "altbench", json.dumps({**json.loads(META.canonical()), **changes}))


def poke(name: str, value: float) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file["data/demo_1"][name][0, 0] = value

    return change


T = len(DEMONSTRATIONS[1])
HUGE = (T, 16, 16, 3)
TAMPERINGS: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "missing array": (lambda f: f["data/demo_1"].pop("actions"), "demo_1/actions: missing"),
    "missing demonstration": (lambda f: f["data"].move("demo_1", "demo_7"), "demo_1: missing"),
    "missing settings": (lambda f: f["data"].attrs.pop("altbench"), "@altbench: missing"),
    "missing number": (lambda f: f["data/demo_1"].attrs.pop("seed"), "@seed: missing"),
    "no data": (lambda f: f.move("data", "date"), "/data: missing"),
    "no demonstrations": (lambda f: [f["data"].pop(k) for k in list(f["data"])], "got 0 in 0 demonstrations"),
    "wrong type": (replaced("actions", data=np.zeros((T, 10))), rf"expected float32 \({T}, 10\), got float64"),
    "big-endian": (replaced("actions", data=np.zeros((T, 10), ">f4")), "got >f4"),
    "wrong length": (replaced("actions", data=np.zeros((T + 1, 10), "f4")), rf"got float32 \({T + 1}, 10\)"),
    "text for numbers": (replaced("actions", data=["a"] * T), "expected float32"),
    "opaque data": (replaced("actions", data=np.zeros(T, "V80")), "expected float32"),
    "group for array": (lambda f: (f["data/demo_1"].pop("actions"), f["data/demo_1"].create_group("actions")), "array"),
    "array for group": (replaced("obs", data=[1]), "demo_1/obs: expected a group"),
    "not a number": (poke("actions", np.nan), "demonstration 1: actions: expected finite values"),
    "infinite": (poke("states", np.inf), "demonstration 1: states: expected finite values"),
    "another value": (poke("actions", 0.5), "expected contents with the checksum"),
    "claimed frames": (attribute("data/demo_1", "num_samples", np.int64(10**9)), "frames"),
    "negative frames": (attribute("data/demo_1", "num_samples", np.int64(-5)), "frames"),
    "real frames": (attribute("data/demo_1", "num_samples", 5.0), "expected int64"),
    "claimed images": (settings_with(image_size=[4096, 4096]), r"expected uint8 \(\d+, 4096, 4096, 3\)"),
    "absurd images": (settings_with(image_size=[10**9, 1]), "image_size.0"),
    "never stored": (replaced("obs/wrist_image", shape=HUGE, dtype="u1", chunks=HUGE), "only 0 are stored"),
    "huge chunks": (
        replaced("actions", data=np.zeros((T, 10), "f4"), maxshape=(None, 10), chunks=(10**5, 10), compression="gzip"),
        "expected chunks no larger",
    ),
    "other filter": (replaced("actions", data=np.zeros((T, 10), "f4"), compression="lzf"), "plain or gzip"),
    "external data": (
        replaced("actions", shape=(T, 10), dtype="f4", external=[("/etc/passwd", 0, 40 * T)]),
        "inside the file",
    ),
    "external link": (relinked("actions", h5py.ExternalLink("other.hdf5", "/actions")), "a link to elsewhere"),
    "soft link": (relinked("actions", h5py.SoftLink("/data/demo_0/actions")), "a link to elsewhere"),
    "settings no JSON": (attribute("data", "altbench", "{"), "expected JSON"),
    "settings a list": (attribute("data", "altbench", "[]"), "expected a JSON object"),
    "settings of fixed length": (attribute("data", "altbench", np.bytes_(META.canonical())), "expected a text"),
    "settings no text": (attribute("data", "altbench", 3), "expected a text"),
    "settings deep": (attribute("data", "altbench", "[" * 50_000), "RecursionError|expected JSON"),
    "newer format": (settings_with(format_version=2), "format_version"),
    "unknown setting": (settings_with(tusk="Lift"), "unknown key 'tusk'; did you mean 'task'"),
    "camera elsewhere": (settings_with(cameras=["../x"]), "cameras.0"),
    "grid index": (attribute("data/demo_1", "grid_index", np.int64(6)), "grid index"),
    "short pose": (attribute("data/demo_1", "object_pose", np.zeros(3)), r"expected float64 \(2,\)"),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_inconsistent_contents_are_refused_with_the_reason(path: Path, tampering: str) -> None:
    change, reason = TAMPERINGS[tampering]
    with h5py.File(path, "r+") as file:
        change(file)
    safe_hdf5.seal(path)
    with pytest.raises(DatasetError, match=reason):
        dataset.read(path)


def test_more_images_than_memory_is_refused_before_loading(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "MAX_BYTES", 1000)
    with pytest.raises(DatasetError, match="expected at most 1,000 bytes of images"):
        dataset.info(path)


# ------------------------------------------------------------------------------------------------------------- write

FIRST = DEMONSTRATIONS[0]


@pytest.mark.parametrize(
    ("demonstrations", "reason"),
    [
        ([], "at least one demonstration"),
        ([DEMONSTRATIONS[1]], "expected demonstration 0 next, got number 1"),
        ([replace(FIRST, actions=FIRST.actions.astype(np.float64))], "actions: expected float32"),
        ([replace(FIRST, agent_pos=FIRST.agent_pos[:-1])], "agent_pos: expected float32"),
        ([replace(FIRST, agent_pos=FIRST.agent_pos * np.nan)], "expected finite"),
        ([replace(FIRST, pixels={"agentview": FIRST.pixels["agentview"]})], "wrist_image"),
        ([replace(FIRST, control_mode="ee_delta")], "expected control mode ee_pose, got ee_delta"),
        ([replace(FIRST, grid_index=6)], "expected a grid index from -1 to 5, got 6"),
        ([replace(FIRST, actions=FIRST.actions[:0])], "frames, got 0"),
        ([FIRST, replace(DEMONSTRATIONS[1], seed=2**63 - 1, states=DEMONSTRATIONS[1].states[:, :5])], "states"),
    ],
)
def test_a_refused_write_leaves_the_old_file_alone(path: Path, demonstrations: Any, reason: str) -> None:
    before = path.read_bytes()
    with pytest.raises(DatasetError, match=reason):
        dataset.write(path, demonstrations, META)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_an_interrupted_write_leaves_the_old_file_alone(path: Path) -> None:
    def interrupted() -> Any:
        yield DEMONSTRATIONS[0]
        raise KeyboardInterrupt

    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        dataset.write(path, interrupted(), META)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_folders_are_made_and_unwritable_places_named(path: Path) -> None:
    new = path.parent / "new" / "folder" / "file.hdf5"
    dataset.write(new, DEMONSTRATIONS, META)
    assert len(dataset.read(new)) == 3
    with pytest.raises(DatasetError, match=r"cannot be written: (Not a directory|File exists)"):
        dataset.write(path / "below-a-file.hdf5", DEMONSTRATIONS, META)


# ----------------------------------------------------------------------------------------------------------- subsets


def placed(grid_indices: list[int]) -> list[Demonstration]:
    return [replace(FIRST, index=i, grid_index=g) for i, g in enumerate(grid_indices)]


@given(
    grid_indices=st.lists(st.integers(-1, 5), min_size=1, max_size=40),
    seed=st.integers(0, 2**40),
    sizes=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_subsets_are_nested_repeatable_and_without_repeats(
    grid_indices: list[int], seed: int, sizes: tuple[int, int]
) -> None:
    demonstrations = placed(grid_indices)
    small, large = sorted(min(size, len(demonstrations)) for size in sizes)
    a, b = (subsets.subset(demonstrations, n, 6, seed) for n in (small, large))
    assert a == b[:small]
    assert len({d.index for d in b}) == large
    assert b == subsets.subset(demonstrations[::-1], large, 6, seed)


@given(seed=st.integers(0, 2**40), passes=st.integers(1, 4))
def test_whole_passes_hold_every_grid_pose_equally_often(seed: int, passes: int) -> None:
    demonstrations = placed([i % 6 for i in range(24)])
    chosen = subsets.subset(demonstrations, 6 * passes, 6, seed)
    assert sorted(d.grid_index for d in chosen) == sorted([*range(6)] * passes)
    assert {d.index for d in chosen} == set(range(6 * passes))


def test_a_longer_file_has_the_same_small_subsets() -> None:
    indices = [i % 6 for i in range(24)]
    short, long = placed(indices[:6]), placed(indices)
    assert subsets.subset(short, 4, 6, 0) == subsets.subset(long, 4, 6, 0)


def test_a_longer_file_off_the_grid_has_subsets_in_the_same_order() -> None:
    short, long = placed([-1] * 12), placed([-1] * 40)
    drawn = [d.index for d in subsets.subset(long, 40, 6, 0)]
    assert [d.index for d in subsets.subset(short, 12, 6, 0)] == [i for i in drawn if i < 12]


@pytest.mark.parametrize("indices", [[i % 6 for i in range(24)], [-1] * 24])
def test_seeds_draw_different_subsets(indices: list[int]) -> None:
    demonstrations = placed(indices)
    drawn = {tuple(d.index for d in subsets.subset(demonstrations, 4, 6, seed)) for seed in range(10)}
    assert len(drawn) > 5


def test_impossible_subsets_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"expected at least 31 .* got 3; `altbench demos collect` with --n 31 and"):
        subsets.subset(DEMONSTRATIONS, 31, 6, 0)
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        subsets.subset(DEMONSTRATIONS, 0, 6, 0)
    with pytest.raises(DatasetError, match="expected a grid index below 2, got 2"):
        subsets.subset(DEMONSTRATIONS, 3, 2, 0)
