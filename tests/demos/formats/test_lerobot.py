"""LeRobot's data sets: numbers come back exact, images within the codec's loss, and what does not fit is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from lerobot_sets import SIZE, demonstration, export, smooth
from state_viewers import TinyViewer

from altbench.core import registry
from altbench.core.demonstration import Demonstration, ImportOptions, Recording
from altbench.core.errors import ConfigError, DatasetError
from altbench.core.types import ControlMode
from altbench.dataset import exchange
from altbench_demos.formats import lerobot_film, lerobot_layout, lerobot_stats


def read(path: Path, **options: Any) -> list[Demonstration]:
    return list(registry.importer("lerobot")(path, TinyViewer(), ImportOptions(**options)).demonstrations)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    export(tmp_path / "tiny")
    return tmp_path / "tiny"


def edit(folder: Path, name: str, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))


# --------------------------------------------------------------------------------------------------------- round trip


@pytest.mark.parametrize("mode", ["ee_pose", "ee_delta"])
def test_lossless_data_sets_come_back_bit_for_bit(tmp_path: Path, mode: ControlMode) -> None:
    made = export(tmp_path / "tiny", mode, lossless=True)
    found = read(tmp_path / "tiny")
    assert [d.control_mode for d in found] == [mode] * 3
    for ours, theirs in zip(made, found, strict=True):
        for name in ("actions", "states", "agent_pos"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        for camera, images in ours.pixels.items():
            np.testing.assert_array_equal(images, theirs.pixels[camera])
        assert theirs.success


def test_films_keep_numbers_exactly_and_images_nearly(folder: Path) -> None:
    for ours, theirs in zip([demonstration(0, 6), demonstration(1, 9), demonstration(2, 4)], read(folder), strict=True):
        np.testing.assert_array_equal(ours.actions, theirs.actions)
        np.testing.assert_array_equal(ours.states, theirs.states)
        for camera, images in ours.pixels.items():
            off = np.abs(images.astype(int) - theirs.pixels[camera])
            assert 0 < off.mean() < 2 and off.max() < 20  # another frame is off by 6 on average
            assert np.abs(images[1:].astype(int) - theirs.pixels[camera][:-1]).mean() > 3


def test_images_can_be_drawn_instead(folder: Path) -> None:
    assert read(folder, render=True, image_size=(8, 9))[0].pixels["wrist"].shape == (6, 8, 9, 3)


def test_an_episode_ends_when_a_state_is_solved_or_its_last_action_solves_it(tmp_path: Path) -> None:
    made = demonstration(0, 6)
    states = made.states.copy()
    states[:, 5] = 0.8
    recording = Recording("ee_pose", SIZE, 1, [replace(made, states=states)])
    registry.exporter("lerobot")(recording, TinyViewer(), str(tmp_path / "failed"))
    assert [d.success for d in read(tmp_path / "failed")] == [False]


def test_files_are_as_lerobot_names_them(folder: Path) -> None:
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*.*") if p.is_file()) == [
        "data/chunk-000/file-000.parquet",
        "meta/altbench.json",
        "meta/episodes/chunk-000/file-000.parquet",
        "meta/info.json",
        "meta/stats.json",
        "meta/tasks.parquet",
        "videos/observation.images.agentview/chunk-000/file-000.mp4",
        "videos/observation.images.wrist/chunk-000/file-000.mp4",
    ]
    info = json.loads((folder / "meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["total_frames"], info["splits"]) == (
        "v3.0",
        20,
        19,
        {"train": "0:3"},
    )
    assert info["features"]["observation.images.wrist"]["shape"] == [20, 25, 3]
    # LeRobot makes inputs of all that begins with "observation": states of the simulator must not.
    assert not [n for n in info["features"] if n.startswith("observation") and "image" not in n and "state" not in n]
    rows = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    place = "videos/observation.images.agentview"
    assert [row["dataset_from_index"] for row in rows] == [0, 6, 15]
    assert [row[f"{place}/from_timestamp"] for row in rows] == pytest.approx([0.0, 0.3, 0.75])
    assert pq.ParquetFile(folder / "data/chunk-000/file-000.parquet").num_row_groups == 3


def test_large_data_sets_are_split_into_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lerobot_layout, "DATA_MEGABYTES", 1e-6)
    monkeypatch.setattr(lerobot_layout, "VIDEO_MEGABYTES", 1e-6)
    made = export(tmp_path / "tiny")
    assert len(list((tmp_path / "tiny/data/chunk-000").iterdir())) == 3
    assert len(list((tmp_path / "tiny/videos/observation.images.wrist/chunk-000").iterdir())) > 1
    for ours, theirs in zip(made, read(tmp_path / "tiny"), strict=True):
        np.testing.assert_array_equal(ours.states, theirs.states)
    assert lerobot_layout.Place(2, 999).next() == lerobot_layout.Place(3, 0)


def test_statistics_of_the_whole_follow_from_those_of_episodes() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(n, 3)) for n in (5, 12, 40)]
    whole, joined = lerobot_stats.together([lerobot_stats.of_values(part) for part in parts]), np.concatenate(parts)
    np.testing.assert_allclose(whole["mean"], joined.mean(axis=0))
    np.testing.assert_allclose(whole["std"], joined.std(axis=0))
    np.testing.assert_array_equal(whole["max"], joined.max(axis=0))
    assert whole["count"].tolist() == [57]
    images = lerobot_stats.of_images(smooth(4, 0))
    assert images["mean"].shape == (3, 1, 1) and 0 <= images["min"].min() <= images["max"].max() <= 1


# ------------------------------------------------------------------------------------------------------------ refusal


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"codebase_version": "v2.1"}, "expected codebase_version v3.0, got 'v2.1'; .*convert_dataset_v21_to_v30"),
        ({"codebase_version": "v2.0"}, "got 'v2.0'; convert it to v2.1 with an older LeRobot"),
        ({"codebase_version": "v4.0"}, "expected codebase_version v3.0, got 'v4.0'$"),
        ({"fps": 30}, "expected 20 frames per second, got 30"),
        ({"data_path": "../../etc/{chunk_index}"}, "expected data_path 'data/chunk"),
        ({"total_episodes": 4}, "expected 4 episodes, got 3"),
        ({"features": {}}, "expected the feature altbench.sim_state"),
    ],
)
def test_data_sets_that_do_not_fit_are_refused(folder: Path, change: dict[str, Any], reason: str) -> None:
    edit(folder, "meta/info.json", lambda info: info.update(change))
    with pytest.raises(DatasetError, match=reason):
        read(folder)


def test_actions_are_what_their_names_say(folder: Path) -> None:
    with pytest.raises(DatasetError, match="expected actions ee_delta, got ee_pose"):
        read(folder, control_mode="ee_delta")
    edit(folder, "meta/info.json", lambda info: info["features"]["action"].update(names=["a", "b"]))
    with pytest.raises(DatasetError, match=r"expected actions named .*--control-mode"):
        read(folder)
    assert len(read(folder, control_mode="ee_pose")) == 3


def test_missing_cameras_and_other_sizes_are_refused(folder: Path) -> None:
    with pytest.raises(DatasetError, match=r"expected images of \(8, 8\), got \(20, 25\); --render"):
        read(folder, image_size=(8, 8))
    edit(folder, "meta/info.json", lambda info: info["features"].pop("observation.images.wrist"))
    with pytest.raises(DatasetError, match=r"expected images .*wrist.*--render draws them"):
        read(folder)


def test_damaged_files_are_refused_with_the_reason(folder: Path) -> None:
    film = folder / "videos/observation.images.wrist/chunk-000/file-000.mp4"
    content = film.read_bytes()
    film.write_bytes(content[:200])
    with pytest.raises(DatasetError, match=r"file-000.mp4: "):
        read(folder)
    film.unlink()
    with pytest.raises(DatasetError, match=r"file-000.mp4: cannot be read as a film"):
        read(folder)
    film.write_bytes(content)
    data = folder / "data/chunk-000/file-000.parquet"
    data.write_bytes(data.read_bytes()[:-20])
    with pytest.raises(DatasetError, match=r"file-000.parquet: cannot be read"):
        read(folder)


def test_a_film_of_another_size_is_refused_before_it_is_decoded(folder: Path) -> None:
    film = folder / "videos/observation.images.wrist/chunk-000/file-000.mp4"
    with pytest.raises(DatasetError, match=r"expected images of \(8, 8\), got \(20, 25\)"):
        lerobot_film.read(film, (8, 8), [0.0], 20)
    with pytest.raises(DatasetError, match=r"expected a frame at 5.000 s"):
        lerobot_film.read(film, SIZE, [0.0, 5.0], 20)


def test_a_gripper_that_contradicts_the_states_is_refused(tmp_path: Path) -> None:
    made = demonstration(0)
    moved = replace(made, agent_pos=made.agent_pos + np.float32(0.05))
    registry.exporter("lerobot")(Recording("ee_pose", SIZE, 1, [moved]), TinyViewer(), str(tmp_path / "moved"))
    with pytest.raises(DatasetError, match=r"expected observation.state as in its states, got a gripper 0.050 m"):
        read(tmp_path / "moved")


def test_an_existing_folder_is_never_overwritten(folder: Path) -> None:
    with pytest.raises(DatasetError, match="exists; choose another folder"):
        export(folder)


def test_other_formats_have_no_lossless_choice(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--lossless: expected a format with two kinds of images"):
        exchange.export_file(tmp_path / "any.hdf5", "robomimic", "out.hdf5", lossless=True)
