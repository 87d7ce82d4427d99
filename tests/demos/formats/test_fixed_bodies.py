"""Tasks whose objects stand in the model: their pose is read with the states, and leaves with them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import h5py
import numpy as np
import pytest
import state_viewers
from state_viewers import NATIVE, OLD_MODEL, TinyViewer

from altbench.core import registry
from altbench.core.demonstration import Demonstration, ImportOptions
from altbench.core.errors import DatasetError
from altbench.dataset import exchange, files
from altbench.dataset.collecting import collect
from altbench.dataset.files import Dataset
from altbench_demos.formats import controllers, fixed_bodies

FIXED = replace(NATIVE, fixed_bodies={"frame": 1.1}, xml='<mujoco><worldbody><body name="frame"/></worldbody></mujoco>')
STANDING = '<body name="frame" pos="0.1 -0.2 1.1" quat="0 0 0 1"/>'


def model(frame: str) -> str:
    return OLD_MODEL.replace("<worldbody>", f"<worldbody>{frame}")


@pytest.mark.parametrize(
    ("quaternion", "yaw"),
    [("0 0 0 1", np.pi), ("1 0 0 0", 0), ("0.8 0 0 -0.6", -2 * np.arcsin(0.6)), ("-1.6 0 0 1.2", -2 * np.arcsin(0.6))],
)
def test_poses_are_read(quaternion: str, yaw: float) -> None:
    found = fixed_bodies.pose(model(STANDING.replace("0 0 0 1", quaternion)), FIXED, "x")
    assert found is not None
    np.testing.assert_allclose(found, [0.1, -0.2, yaw], atol=1e-12)


def test_a_body_that_is_not_turned_has_no_quaternion() -> None:
    found = fixed_bodies.pose(model('<body name="frame" pos="0.1 -0.2 1.1"/>'), FIXED, "x")
    np.testing.assert_array_equal(found, [0.1, -0.2, 0.0])


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ("", "frame: expected a body of the world with pos and quat, got {}"),
        (f'<body name="around">{STANDING}</body>', "expected a body of the world"),
        ('<body name="frame" quat="1 0 0 0"/>', "with pos and quat"),
        ('<body name="frame" pos="0 0 nan"/>', "with pos and quat"),
        ('<body name="frame" pos="0 0 1.1" euler="0 0 1"/>', "with pos and quat, got .*euler"),
        (STANDING.replace("0 0 0 1", "0 0 0 0"), "with pos and quat"),
        (STANDING.replace("0 0 0 1", "0.7 0.7 0 0"), r"expected it upright, 1\.1 m high"),
        (STANDING.replace("1.1", "1.2"), r"expected it upright, 1\.1 m high, got .*1\.2"),
    ],
)
def test_models_that_do_not_tell_are_refused(frame: str, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason):
        fixed_bodies.pose(model(frame), FIXED, "file")


def test_other_tasks_have_no_fixed_bodies() -> None:
    assert fixed_bodies.pose("", NATIVE, "x") is None
    assert fixed_bodies.placed(replace(NATIVE, xml="<mujoco/>"), np.zeros(2)) == "<mujoco/>"


def test_what_is_placed_is_read_again() -> None:
    pose = np.array([0.1, -0.3, -1.5])
    np.testing.assert_allclose(fixed_bodies.pose(fixed_bodies.placed(FIXED, pose), FIXED, "x"), pose, atol=1e-15)


@pytest.mark.parametrize("format_name", ["robosuite", "robomimic"])
def test_importers_take_the_pose_from_the_model(format_name: str, tmp_path: Path) -> None:
    def read(xml: str) -> Demonstration:
        path = tmp_path / "file.hdf5"
        path.unlink(missing_ok=True)
        (state_viewers.write_robosuite if format_name == "robosuite" else state_viewers.write_robomimic)(path)
        with h5py.File(path, "r+") as file:
            for demo in file["data"].values():
                demo.attrs["model_file"] = xml
        return next(iter(registry.importer(format_name)(path, viewer, ImportOptions()).demonstrations))

    viewer = TinyViewer()
    viewer.native = FIXED
    np.testing.assert_allclose(read(model(STANDING)).initial_state.object_pose, [0.1, -0.2, np.pi])
    with pytest.raises(DatasetError, match="frame: expected a body of the world with pos and quat"):
        read(OLD_MODEL)


# ------------------------------------------------------------------------------------------------------------ on Door


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two demonstrations of Door, at two places."""
    path = tmp_path_factory.mktemp("door") / "Door.hdf5"
    collect("Door", 2, path, image_size=(32, 32))
    return path


def _same(ours: Dataset, theirs: Dataset, tolerance: float) -> None:
    places = [d.initial_state.object_pose for d in ours.demonstrations]
    assert np.abs(places[0] - places[1]).max() > 0.01
    for a, b in zip(ours.demonstrations, theirs.demonstrations, strict=True):
        np.testing.assert_allclose(b.initial_state.object_pose, a.initial_state.object_pose, atol=tolerance)
        np.testing.assert_allclose(b.environment_state, a.environment_state, atol=tolerance + 1e-6)
        np.testing.assert_array_equal(b.states, a.states)
        assert b.success


@pytest.mark.sim
@pytest.mark.slow
def test_door_goes_to_robomimic_and_back(door: Path, tmp_path: Path) -> None:
    ours, out = files.read(door), tmp_path / "robomimic.hdf5"
    exchange.export_file(door, "robomimic", str(out))
    _same(ours, exchange.import_file(out, "robomimic", "Door", tmp_path / "back.hdf5").data, 1e-9)
    _same(ours, exchange.import_file(door, "robomimic", "Door", tmp_path / "own.hdf5").data, 0)


@pytest.mark.sim
@pytest.mark.slow
def test_door_of_robosuites_own_collection(door: Path, tmp_path: Path) -> None:
    """With the model as robosuite writes it, in six digits (`sim.model.get_xml()`, which leaves a file open)."""
    import mujoco

    ours, path = files.read(door), tmp_path / "demo.hdf5"
    env: Any = gymnasium.make("altbench/Door-v0", obs_type="state").unwrapped
    native = env.native_model()
    info = {"robots": "Panda", "controller_configs": controllers.native_config("ee_pose", native)}
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs.update({"env": "Door", "env_info": json.dumps(info), "repository_version": "1.5.2"})
        for d in ours.demonstrations:
            env.reset(options={"split": "replay", "initial_state": d.initial_state})
            demo = data.create_group(f"demo_{d.index}")
            mujoco.mj_saveLastXML(str(tmp_path / "model.xml"), env._simulator.model)
            demo.attrs["model_file"] = (tmp_path / "model.xml").read_text()
            env.reset(options={"split": "replay", "initial_state": replace(d.initial_state, sim_state=d.states[-1])})
            env.advance(d.actions[-1])
            demo["states"] = np.concatenate([d.states, env.sim_state()[None]])
            last = controllers.native_from_pose_actions(d.actions)
            demo["actions"] = np.concatenate([last, last[-1:]])
    env.close()
    found = exchange.import_file(path, "robosuite", "Door", tmp_path / "out.hdf5", ImportOptions(image_size=(32, 32)))
    _same(ours, found.data, 2e-5)


@pytest.mark.sim
def test_door_goes_to_minari_and_back(door: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("minari", reason="needs the extra altbench[minari]")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    exchange.export_file(door, "minari", "altbench/door-v0")
    found = exchange.import_file(Path("altbench/door-v0"), "minari", "Door", tmp_path / "back.hdf5")
    _same(files.read(door), found.data, 0)
