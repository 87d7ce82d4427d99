"""Importers: old states find their joints, actions keep their meaning, what does not fit is refused with both sides."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import state_viewers
from scipy.spatial.transform import Rotation
from state_viewers import CONTROLLER, NATIVE, OLD_MODEL, TinyViewer

from altbench.core import registry
from altbench.core.demonstration import Demonstration, ImportOptions, Recording
from altbench.core.errors import DatasetError, UnknownNameError
from altbench_demos.formats import controllers, mjcf

HUMAN = Path(__file__).parents[3] / "../shared/data/human_demos"
needs_human = pytest.mark.skipif(not (HUMAN / "lift.hdf5").exists(), reason="../shared/data/human_demos is not here")


def read(format_name: str, path: Path, **options: Any) -> tuple[Recording, list[Demonstration]]:
    recording = registry.importer(format_name)(path, TinyViewer(), ImportOptions(**options))
    return recording, list(recording.demonstrations)


@pytest.fixture
def robosuite(tmp_path: Path) -> Path:
    return state_viewers.write_robosuite(tmp_path / "robosuite.hdf5")


@pytest.fixture
def robomimic(tmp_path: Path) -> Path:
    return state_viewers.write_robomimic(tmp_path / "robomimic.hdf5")


def edit(path: Path, change: Callable[[h5py.File], None]) -> Path:
    with h5py.File(path, "r+") as file:
        change(file)
    return path


# ------------------------------------------------------------------------------------------------------------- models


def test_states_of_an_old_model_are_mapped_by_joint_name() -> None:
    present = state_viewers.states()
    np.testing.assert_array_equal(mjcf.map_states(state_viewers.old(present), OLD_MODEL, NATIVE, "x"), present)
    kinds = [("cube_jnt0", "free"), ("robot0_joint1", "hinge"), ("gripper0_finger_joint1", "slide")]
    assert mjcf.joint_types(OLD_MODEL, "x") == kinds


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        ("<mujoco", "text that is not XML"),
        ("<mujoco/>", "expected a model with named joints"),
        ('<!DOCTYPE m [<!ENTITY a "b">]><mujoco>&a;</mujoco>', "without document type and entities"),
        (OLD_MODEL.replace("cube_jnt0", "ball_jnt0"), r"expected the joints .*cube_joint0.*got .*ball_joint0"),
        (OLD_MODEL.replace('type="free"', 'type="tree"'), "of the types"),
        (OLD_MODEL.replace("free", "ball"), "states of 12 numbers, but those recorded have 18"),
    ],
)
def test_models_that_do_not_fit_are_refused(xml: str, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason):
        mjcf.map_states(state_viewers.old(state_viewers.states()), xml, NATIVE, "file")


@needs_human
@pytest.mark.parametrize(("name", "objects"), [("lift", ["cube_jnt0"]), ("stack", ["cubeA_jnt0", "cubeB_jnt0"])])
def test_real_models_are_read(name: str, objects: list[str]) -> None:
    found = mjcf.joint_types((HUMAN / f"{name}.xml").read_text(), name)
    assert [joint for joint, kind in found if kind == "free"] == objects
    with h5py.File(HUMAN / f"{name}.hdf5") as file:
        assert file["data/demo_1/states"].shape[1] == 1 + sum(sum(mjcf.SIZES[kind]) for _, kind in found)


# ------------------------------------------------------------------------------------------------------------ actions


def test_absolute_commands_survive_a_round_trip() -> None:
    rng = np.random.default_rng(0)
    native = np.concatenate([rng.normal(size=(50, 3)), rng.uniform(-1.8, 1.8, (50, 3)), rng.uniform(-1, 1, (50, 1))], 1)
    poses = controllers.pose_actions_from_native(native)
    assert poses.shape == (50, 10)
    np.testing.assert_allclose(controllers.native_from_pose_actions(poses), native, atol=1e-6)


def test_delta_actions_move_and_turn_the_pose_that_was_seen() -> None:
    seen = np.array([[1, 2, 3, 1, 0, 0, 0, 1, 0, 0, 0]], np.float32)
    found = controllers.pose_actions_from_deltas(np.array([[1, -0.5, 9, 0, 0, 1, -1.0]]), seen)[0]
    np.testing.assert_allclose(found[:3], [1.05, 1.975, 3.05], rtol=1e-6)
    np.testing.assert_allclose(found[3:9].reshape(2, 3).T, Rotation.from_euler("z", 0.5).as_matrix()[:, :2], atol=1e-6)
    assert found[9] == -1


def test_controllers_of_either_age_are_told_apart() -> None:
    new = {
        "type": "BASIC",
        "body_parts": {"right": {**CONTROLLER, "input_type": "absolute", "input_ref_frame": "world"}},
    }
    del new["body_parts"]["right"]["control_delta"]
    assert controllers.recorded_mode(CONTROLLER, state_viewers.TASK, "x") == "ee_delta"
    assert controllers.recorded_mode({**CONTROLLER, "control_delta": False}, state_viewers.TASK, "x") == "ee_pose"
    assert controllers.recorded_mode(new, state_viewers.TASK, "x") == "ee_pose"
    for mode in ("ee_pose", "ee_delta"):
        assert controllers.recorded_mode(controllers.native_config(mode, NATIVE), state_viewers.TASK, "x") == mode
    new["body_parts"]["right"]["input_ref_frame"] = "base"
    with pytest.raises(DatasetError, match="expected absolute actions in the frame world, got 'base'"):
        controllers.recorded_mode(new, state_viewers.TASK, "x")


# ---------------------------------------------------------------------------------------------------------- robosuite


def test_robosuite_actions_name_the_next_pose_and_end_with_success(robosuite: Path) -> None:
    recording, found = read("robosuite", robosuite)
    assert (recording.control_mode, recording.episodes, len(found)) == ("ee_pose", 3, 3)
    assert recording.made_with == {"recorded with": "robosuite 1.0.0", "actions": "as recorded"}
    d = found[2]
    assert (d.index, len(d), d.success, d.seed, d.grid_index) == (2, 6, True, -1, -1)
    np.testing.assert_array_equal(d.states, state_viewers.states()[:6])
    np.testing.assert_allclose(d.actions[:, 0], 0.01 * np.arange(1, 7), rtol=1e-6)
    np.testing.assert_array_equal(d.actions[:, 9], [-1, -1, -1, -1, 1, 1])
    np.testing.assert_array_equal(d.initial_state.object_pose, [0.1, -0.1])
    assert d.pixels["wrist"].shape == (6, 84, 84, 3)


def test_robosuite_actions_can_be_taken_as_recorded(robosuite: Path) -> None:
    recording, found = read("robosuite", robosuite, control_mode="ee_delta", image_size=(16, 24))
    assert (recording.control_mode, recording.image_size) == ("ee_delta", (16, 24))
    np.testing.assert_allclose(found[0].actions, state_viewers.actions()[:6], rtol=1e-6)


@pytest.mark.parametrize("unfit", [{"actions": 0.0}, {"type": "JOINT_VELOCITY"}])
def test_robosuite_targets_are_recovered_if_the_actions_do_not_fit(tmp_path: Path, unfit: dict[str, Any]) -> None:
    def still(file: h5py.File) -> None:
        for demo in file["data"].values():
            demo["actions"][:, :6] = 0.0

    changes = {"controller_configs": {**CONTROLLER, **unfit}} if "type" in unfit else {}
    path = state_viewers.write_robosuite(tmp_path / "x.hdf5", **changes)
    recording, found = read("robosuite", edit(path, still) if "actions" in unfit else path)
    assert recording.made_with["actions"] == "recovered from the states"
    np.testing.assert_allclose(found[2].actions[:, 0], 0.01 * np.arange(1, 7), rtol=1e-6)
    np.testing.assert_array_equal(found[2].actions[:, 9], [-1, -1, -1, -1, 1, 1])


def test_an_episode_that_never_succeeds_keeps_all_but_its_last_state(tmp_path: Path) -> None:
    def fail(file: h5py.File) -> None:
        file["data/demo_1/states"][...] = state_viewers.old(state_viewers.states(solved_at=99))

    _, found = read("robosuite", edit(state_viewers.write_robosuite(tmp_path / "x.hdf5"), fail))
    assert [(len(d), d.success) for d in found] == [(7, False), (6, True), (6, True)]


def test_the_model_may_lie_beside_the_file(tmp_path: Path) -> None:
    path = state_viewers.write_robosuite(tmp_path / "x.hdf5", model="model_1.xml")
    with pytest.raises(DatasetError, match=r"its model 'model_1.xml' is missing .* name it with --model FILE"):
        read("robosuite", path)
    for beside in ("x.xml", "model_1.xml", "given"):
        (tmp_path / beside).write_text(OLD_MODEL)
        given = tmp_path / beside if beside == "given" else None
        assert len(read("robosuite", path, model=given)[1]) == 3
        (tmp_path / beside).unlink()
    with pytest.raises(DatasetError, match="the name of a file beside it"):
        read("robosuite", state_viewers.write_robosuite(tmp_path / "y.hdf5", model="../../etc/passwd"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"robots": ["Sawyer"]}, r"expected robots \['Panda'\], got \['Sawyer'\]"),
        ({"control_freq": 10}, "expected control at 20 Hz, got 10"),
        ({"controller_configs": {**CONTROLLER, "type": "JOINT_VELOCITY"}}, "type OSC_POSE, got 'JOINT_VELOCITY'"),
        ({"controller_configs": {**CONTROLLER, "output_max": 1}}, r"output_max \[0.05.*got 1"),
        ({"controller_configs": {**CONTROLLER, "control_delta": False}}, "expected delta actions .* got ee_pose"),
        ({"controller_configs": None}, "expected controller_configs, got None"),
    ],
)
def test_robosuite_files_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(DatasetError, match=reason):
        read("robosuite", state_viewers.write_robosuite(tmp_path / "x.hdf5", **changes), control_mode="ee_delta")


def test_another_task_or_frequency_is_refused(robosuite: Path) -> None:
    def slower(file: h5py.File) -> None:
        file["data/demo_1/states"][:, 0] *= 2

    with pytest.raises(DatasetError, match="expected states at 20 Hz, got 10 Hz"):
        read("robosuite", edit(robosuite, slower))
    with pytest.raises(DatasetError, match="expected demonstrations of robosuite's RoboTiny, got 'Lift'"):
        read("robosuite", edit(robosuite, lambda file: file["data"].attrs.update({"env": "Lift"})))


# ---------------------------------------------------------------------------------------------------------- robomimic


def test_robomimic_states_alone_are_drawn(robomimic: Path) -> None:
    recording, found = read("robomimic", robomimic)
    assert (recording.control_mode, recording.made_with) == ("ee_delta", {"recorded with": "robosuite 1.4.1"})
    (d,) = found
    assert (len(d), d.success, d.actions.shape) == (6, True, (6, 7))
    np.testing.assert_array_equal(d.pixels["agentview"][:, 0, 0, 0], range(6))
    poses = read("robomimic", robomimic, control_mode="ee_pose")[1][0]
    np.testing.assert_allclose(poses.actions[:, 0], d.agent_pos[:, 0] + 0.01, rtol=1e-6)


def test_robomimic_absolute_actions_become_poses(tmp_path: Path) -> None:
    path = state_viewers.write_robomimic(tmp_path / "x.hdf5", {**CONTROLLER, "control_delta": False})
    with pytest.raises(DatasetError, match=r"ee_pose targets near the gripper at .* got \[0.2, 0, 0\], 1.02 m away"):
        read("robomimic", path)
    edit(path, absolute)
    recording, found = read("robomimic", path)
    assert recording.control_mode == "ee_pose"
    turn = Rotation.from_rotvec([0.1, 0, 0]).as_matrix()
    np.testing.assert_allclose(found[0].actions[0], [0.2, 0, 1, *turn[:, 0], *turn[:, 1], -1], atol=1e-6)
    with pytest.raises(DatasetError, match="expected delta actions for --control-mode ee_delta, got absolute"):
        read("robomimic", path, control_mode="ee_delta")


def absolute(file: h5py.File) -> None:
    """Aim at the gripper's height, as absolute commands do."""
    file["data/demo_0/actions"][:, 2] = 1.0


def test_absolute_actions_beside_delta_ones_are_taken(robomimic: Path) -> None:
    def add(file: h5py.File) -> None:
        file["data/demo_0/actions_abs"] = file["data/demo_0/actions"][...]
        file["data/demo_0/actions_abs"][:, 2] = 1.0

    recording, found = read("robomimic", edit(robomimic, add))
    assert recording.control_mode == "ee_pose"
    np.testing.assert_allclose(found[0].actions[:, :3], np.tile([0.2, 0, 1], (6, 1)), atol=1e-6)
    recording, found = read("robomimic", robomimic, control_mode="ee_delta")
    assert (recording.control_mode, found[0].actions.shape[1]) == ("ee_delta", 7)


def test_a_file_that_says_delta_but_holds_absolute_commands_is_refused(robomimic: Path) -> None:
    def turned(file: h5py.File) -> None:
        file["data/demo_0/actions"][:, 3] = np.pi

    for mode in ("ee_delta", "ee_pose", None):
        with pytest.raises(
            DatasetError, match=r"demo_0: frame 0: expected ee_delta actions, .*from -1 to 1, got 3.142"
        ):
            read("robomimic", edit(robomimic, turned), control_mode=mode)


def test_the_new_layout_ignores_control_delta_as_robosuite_does() -> None:
    part = {key: value for key, value in CONTROLLER.items() if key != "control_delta"}
    for extra, mode in (({}, "ee_delta"), ({"control_delta": False}, "ee_delta"), ({"input_type": "absolute"}, "")):
        config = {"type": "BASIC", "body_parts": {"right": {**part, **extra}}}
        if mode:
            assert controllers.recorded_mode(config, state_viewers.TASK, "x") == mode
        else:
            with pytest.raises(DatasetError, match="expected absolute actions in the frame world, got 'base'"):
                controllers.recorded_mode(config, state_viewers.TASK, "x")


def test_robots_and_machine_generated_names(tmp_path: Path) -> None:
    def written(**kwargs: Any) -> Path:
        settings = {"controller_configs": CONTROLLER, **kwargs}
        return state_viewers.write_robomimic(tmp_path / "x.hdf5", env_name="MG_RoboTiny", env_kwargs=settings)

    assert len(read("robomimic", written(robots="Panda"))[1]) == 1
    with pytest.raises(DatasetError, match=r"expected robots \['Panda'\], got \['Sawyer'\]"):
        read("robomimic", written(robots=["Sawyer"]))


@pytest.mark.parametrize(
    ("rewards", "settings", "success"),
    [
        ([0.0] * 7 + [1.0], {}, True),
        ([0.3] * 8, {}, False),
        ([1.0] + [0.0] * 7, {}, False),
        ([1.0] * 8, {"reward_shaping": True}, False),
        ([1.0] * 8, {"reward_scale": 2.25}, False),
    ],
)
def test_only_the_sparse_reward_of_the_last_frame_means_success(
    robomimic: Path, rewards: list[float], settings: dict[str, Any], success: bool
) -> None:
    def change(file: h5py.File) -> None:
        file["data/demo_0/states"][...] = state_viewers.old(state_viewers.states(solved_at=99))
        file["data/demo_0/rewards"][...] = rewards
        args = json.loads(file["data"].attrs["env_args"])
        args["env_kwargs"].update(settings)
        file["data"].attrs["env_args"] = json.dumps(args)

    recording, found = read("robomimic", edit(robomimic, change))
    assert (found[0].success, recording.rewarded) == (success, {0} if success else set())


def _three(file: h5py.File) -> None:
    """Three demonstrations, the second with NaN, and filter keys."""
    for name in ("demo_1", "demo_2"):
        file.copy("data/demo_0", file["data"], name)
    file["data/demo_1/actions"][3, 0] = np.nan
    file["mask/train"] = np.array([b"demo_0", b"demo_1"])
    file.create_dataset("mask/valid", data=["demo_2"], dtype=h5py.string_dtype())
    file["mask/lost"] = np.array([b"demo_7"])


def test_a_demonstration_with_nan_is_left_out_and_named(robomimic: Path) -> None:
    recording, found = read("robomimic", edit(robomimic, _three))
    assert [recording.names[d.index] for d in found] == ["demo_0", "demo_2"]
    assert list(recording.unusable) == ["demo_1"]
    assert "data/demo_1/actions: expected finite values, got NaN" in recording.unusable["demo_1"]


def test_filter_keys_select_demonstrations(robomimic: Path) -> None:
    edit(robomimic, _three)
    assert read("robomimic", robomimic, filter="train")[0].names == ("demo_0", "demo_1")
    assert read("robomimic", robomimic, filter="valid")[0].names == ("demo_2",)
    with pytest.raises(UnknownNameError, match=r"unknown filter key .*'trian'; did you mean 'train'"):
        read("robomimic", robomimic, filter="trian")
    with pytest.raises(DatasetError, match=r"mask/lost: expected names of its demonstrations, got \['demo_7'\]"):
        read("robomimic", robomimic, filter="lost")


def test_other_formats_have_no_filter_keys(robosuite: Path, robomimic: Path) -> None:
    with pytest.raises(DatasetError, match="expected no --filter, since robosuite files have no filter keys"):
        read("robosuite", robosuite, filter="train")
    with pytest.raises(DatasetError, match="expected filter keys in mask for --filter train, got a file without any"):
        read("robomimic", robomimic, filter="train")


def test_robomimic_images_are_taken_over_unless_they_do_not_fit(robomimic: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 20, 16, 3), np.uint8)

    def add(file: h5py.File) -> None:
        file["data/demo_0/obs/agentview_image"] = images

    with pytest.raises(DatasetError, match=r"expected images of .*wrist \(robot0_eye_in_hand_image\).*got .*--render"):
        read("robomimic", edit(robomimic, add))
    edit(robomimic, lambda file: file.create_dataset("data/demo_0/obs/robot0_eye_in_hand_image", data=images[::-1]))
    recording, found = read("robomimic", robomimic)
    assert recording.image_size == (20, 16)
    np.testing.assert_array_equal(found[0].pixels["agentview"], images[:6])
    np.testing.assert_array_equal(found[0].pixels["wrist"], images[::-1][:6])
    with pytest.raises(DatasetError, match=r"expected images of \(84, 84\), got \[\(20, 16\)\]; --render"):
        read("robomimic", robomimic, image_size=(84, 84))
    assert read("robomimic", robomimic, image_size=(84, 84), render=True)[1][0].pixels["wrist"].shape[1:] == (84, 84, 3)


def test_robomimic_files_that_do_not_fit_are_refused(tmp_path: Path, robomimic: Path) -> None:
    wrong = state_viewers.write_robomimic(tmp_path / "x.hdf5", env_name="Door")
    with pytest.raises(
        DatasetError, match=r"robosuite's RoboTiny \(type 1\) or altbench/Tiny-v0, got 'Door' \(type 1\)"
    ):
        read("robomimic", wrong)
    wrong = state_viewers.write_robomimic(tmp_path / "x.hdf5", env_kwargs={"control_freq": 5})
    with pytest.raises(DatasetError, match="expected control at 20 Hz, got 5 Hz"):
        read("robomimic", wrong)

    def elsewhere(file: h5py.File) -> None:
        file["data/demo_0/obs/robot0_eef_pos"] = np.ones((8, 3))

    with pytest.raises(DatasetError, match=r"expected the gripper at .* as its state says, got"):
        read("robomimic", edit(robomimic, elsewhere))


def test_export_to_robomimic_comes_back(tmp_path: Path, robosuite: Path) -> None:
    recording, found = read("robosuite", robosuite, image_size=(16, 16))
    viewer, out = TinyViewer(), tmp_path / "new" / "out.hdf5"
    viewer.native = replace(NATIVE, xml=OLD_MODEL.replace("_jnt0", "_joint0"))
    ordered = [
        replace(d, states=state_viewers.old(d.states)) for d in found
    ]  # its model has the joints in the old order
    message = registry.exporter("robomimic")(replace(recording, demonstrations=ordered), viewer, str(out))
    assert "3 demonstrations, 18 frames" in message
    with h5py.File(out) as file:
        args = json.loads(file["data"].attrs["env_args"])
        assert (args["env_name"], args["type"], args["env_kwargs"]["camera_heights"]) == ("RoboTiny", 1, 16)
        assert set(file["data/demo_1/obs"]) >= {"agentview_image", "robot0_eye_in_hand_image", "robot0_eef_pos"}
        assert file["data/demo_1/actions"].shape == (6, 7)
        assert file["data/demo_1/rewards"][:].tolist() == file["data/demo_1/dones"][:].tolist() == [0, 0, 0, 0, 0, 1]
    again, back = read("robomimic", out)
    assert (again.control_mode, again.image_size) == ("ee_pose", (16, 16))
    for a, b in zip(found, back, strict=True):
        np.testing.assert_allclose(a.actions, b.actions, atol=1e-6)
        np.testing.assert_array_equal(a.states, b.states)
        np.testing.assert_array_equal(a.pixels["wrist"], b.pixels["wrist"])
        assert b.success
    with pytest.raises(DatasetError, match="exists; choose another file"):
        registry.exporter("robomimic")(recording, viewer, str(out))


def test_an_interrupted_export_to_robomimic_leaves_no_file(tmp_path: Path, robosuite: Path) -> None:
    recording, found = read("robosuite", robosuite, image_size=(16, 16))

    def interrupted() -> Iterator[Demonstration]:
        yield found[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        registry.exporter("robomimic")(
            replace(recording, demonstrations=interrupted()), TinyViewer(), str(tmp_path / "out" / "out.hdf5")
        )
    assert list((tmp_path / "out").iterdir()) == []
