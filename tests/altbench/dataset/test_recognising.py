"""What a foreign file is: its own words decide, and nothing is guessed."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import pytest
import state_viewers

from altbench.core import registry
from altbench.core.errors import ConfigError, DatasetError, UnknownNameError
from altbench.dataset.recognising import recognise
from altbench_demos.formats import recognition


def lerobot(folder: Path, task: str | None = "Lift", version: str = "v3.0") -> Path:
    (folder / "meta").mkdir(parents=True)
    (folder / "meta/info.json").write_text(json.dumps({"codebase_version": version}))
    if task is not None:
        (folder / "meta/altbench.json").write_text(json.dumps({"task": task}))
    return folder


def minari(folder: Path, env_id: str) -> Path:
    folder.mkdir()
    spec = json.dumps({"id": env_id})
    (folder / "metadata.json").write_text(json.dumps({"data_format": "hdf5", "env_spec": spec}))
    return folder


def rename(path: Path, attribute: str, content: str) -> Path:
    with h5py.File(path, "r+") as file:
        file["data"].attrs[attribute] = content
    return path


def test_each_format_says_what_it_is(tmp_path: Path) -> None:
    robomimic = state_viewers.write_robomimic(tmp_path / "a.hdf5", env_name="NutAssemblySquare")
    robosuite = rename(state_viewers.write_robosuite(tmp_path / "b.hdf5"), "env", "MG_PickPlaceCan")
    files = {
        ("robomimic", "Square"): robomimic,
        ("robosuite", "Can"): robosuite,
        ("minari", "Door"): minari(tmp_path / "m", "altbench/Door-v0"),
        ("lerobot", "Lift"): lerobot(tmp_path / "l"),
    }
    for expected, path in files.items():
        found = recognise(path)
        assert (found.format_name, found.task) == expected and found.words
    assert recognise(robomimic).words == "env_args: env_name 'NutAssemblySquare'"


def test_what_the_user_names_counts(tmp_path: Path) -> None:
    found = recognise(lerobot(tmp_path / "l"), task="Stack")
    assert (found.format_name, found.task) == ("lerobot", "Stack")  # the importer then refuses
    assert recognise(tmp_path / "any", "robomimic", "Lift").task == "Lift"
    with pytest.raises(UnknownNameError, match="robomimic"):
        recognise(tmp_path, "robomimik")


def test_a_file_that_does_not_say_needs_the_option(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"a file, but it is missing; name its format with --format \(lerobot, minari, robomimic"
    ):
        recognise(tmp_path / "missing")
    (tmp_path / "text.hdf5").write_text("no HDF5")
    with pytest.raises(DatasetError, match="expected a file that says what it is; name its format"):
        recognise(tmp_path / "text.hdf5")
    with pytest.raises(ConfigError, match=r"which is no task of ours; name one with --task \(Can, Door, Lift"):
        recognise(state_viewers.write_robomimic(tmp_path / "a.hdf5"))
    with pytest.raises(ConfigError, match=r"it says meta/info.json: codebase_version 'v3.0', which is no task"):
        recognise(lerobot(tmp_path / "l", task=None))
    with pytest.raises(ConfigError, match="does not say which task"):
        recognise(tmp_path / "text.hdf5", "robosuite")


def test_words_of_two_formats_are_not_chosen_between(tmp_path: Path) -> None:
    both = lerobot(tmp_path / "both")
    (both / "metadata.json").write_text((minari(tmp_path / "m", "altbench/Lift-v0") / "metadata.json").read_text())
    with pytest.raises(DatasetError, match="of one format, got words of lerobot and minari; name its format"):
        recognise(both)


@pytest.mark.sim
def test_the_names_of_robosuites_tasks_are_those_of_ours() -> None:
    scenes = {name: registry.task_class(name) for name in recognition.TASKS.values()}
    assert {scene.robosuite_name: name for name, scene in scenes.items()} == recognition.TASKS
