"""Import, export, sheets and known sets through the commands, on the fake task and on a real human demonstration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import fakes
import h5py
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from altbench.cli.demos.app import app
from altbench.core import registry
from altbench.core.demonstration import ImportOptions
from altbench.core.errors import AltbenchError, DatasetError, UnknownNameError
from altbench.dataset import exchange, files, known_sets
from altbench.dataset.collecting import collect
from altbench.dataset.exchange import is_solved_at_start
from altbench.dataset.state_viewer import TaskStateViewer
from altbench.report import contact_sheets

HUMAN = Path(__file__).parents[3] / "../shared/data/human_demos"


def run(*arguments: object, status: int = 0) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result.output


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "Fake.hdf5"
    collect("Fake", 3, path, image_size=(32, 32))
    return path


# ------------------------------------------------------------------------------------------------- import and export


def test_robomimic_and_back(file: Path, tmp_path: Path) -> None:
    out, back = tmp_path / "robomimic.hdf5", tmp_path / "back.hdf5"
    assert "3 demonstrations" in run("export", file, "--format", "robomimic", "--out", out)
    shown = run("import", out, "--format", "robomimic", "--task", "Fake", "--out", back)
    assert "3 (3 successful)" in shown
    ours, theirs = files.read(file), files.read(back)
    assert theirs.meta.versions["imported from"] == "robomimic"
    for a, b in zip(ours.demonstrations, theirs.demonstrations, strict=True):
        np.testing.assert_allclose(a.actions, b.actions, atol=1e-6)
        np.testing.assert_array_equal(a.agent_pos, b.agent_pos)
        np.testing.assert_array_equal(a.states, b.states)
        np.testing.assert_array_equal(a.pixels["wrist"], b.pixels["wrist"])
        np.testing.assert_array_equal(a.initial_state.object_pose, b.initial_state.object_pose)
        assert (b.seed, b.grid_index) == (-1, -1)
    assert "all 3 succeed when replayed" in run("validate", back)
    with pytest.raises(DatasetError, match="exists; choose another file"):
        run("import", out, "--format", "robomimic", "--task", "Fake", "--out", back)


def test_our_own_files_are_robomimic_files(file: Path, tmp_path: Path) -> None:
    found = exchange.import_file(file, "robomimic", "Fake", tmp_path / "again.hdf5").data
    for a, b in zip(files.read(file).demonstrations, found.demonstrations, strict=True):
        np.testing.assert_array_equal(a.actions, b.actions)
        np.testing.assert_array_equal(a.pixels["agentview"], b.pixels["agentview"])


def test_failures_are_left_out_and_counted(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "robomimic.hdf5"
    run("export", file, "--format", "robomimic", "--out", out)
    _cut(out, "demo_1", 3)
    shown = run("import", out, "--format", "robomimic", "--task", "Fake", "--out", tmp_path / "a.hdf5")
    assert "left out 1 (demo_1) that do not solve Fake" in shown
    kept = exchange.import_file(out, "robomimic", "Fake", tmp_path / "b.hdf5", keep_failures=True)
    assert [d.success for d in kept.data.demonstrations] == [True, False, True]


def edit(path: Path, change: Callable[[h5py.File], None]) -> Path:
    with h5py.File(path, "r+") as file:
        change(file)
    return path


@pytest.fixture
def exported(file: Path, tmp_path: Path) -> Path:
    out = tmp_path / "exported.hdf5"
    run("export", file, "--format", "robomimic", "--out", out)
    return out


def bring_in(path: Path, *options: object, status: int = 0) -> str:
    out = path.with_name("brought.hdf5")
    out.unlink(missing_ok=True)
    return run("import", path, "--format", "robomimic", "--task", "Fake", "--out", out, *options, status=status)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a, _: np.stack([a[:, 1], a[:, 0], *a.T[2:]], axis=1), "ones that explain .* of the gripper's position"),
        (lambda a, seen: np.concatenate([seen + 3 * (a[:, :3] - seen), a[:, 3:]], axis=1), "gripper's position"),
        (lambda a, seen: np.concatenate([seen, a[:, 3:]], axis=1), "they ask for no motion at all"),
        (lambda a, _: np.roll(a, 4, axis=0), "explain .* of the gripper's position"),
        (lambda a, _: np.concatenate([a[:, :3] * 9, a[:, 3:]], axis=1), "expected ee_pose actions, whose number"),
        (lambda a, seen: np.concatenate([a[:, :3] - seen + 0.4, a[:, 3:]], axis=1), "ee_pose targets near the gripper"),
    ],
)
def test_actions_that_were_not_executed_are_refused(
    exported: Path, change: Callable[[np.ndarray, np.ndarray], np.ndarray], reason: str
) -> None:
    def spoil(file: h5py.File) -> None:
        for demo in file["data"].values():
            demo["actions"][...] = change(demo["actions"][...], demo["obs/robot0_eef_pos"][...])

    with pytest.raises(DatasetError, match=reason):
        bring_in(edit(exported, spoil))
    assert not exported.with_name("brought.hdf5").exists()


def test_one_demonstration_with_other_actions_is_named(exported: Path) -> None:
    def reverse(file: h5py.File) -> None:
        seen = file["data/demo_1/obs/robot0_eef_pos"][...]
        file["data/demo_1/actions"][:, :3] = 2 * seen - file["data/demo_1/actions"][:, :3]

    with pytest.raises(DatasetError, match=r"demo_1: expected actions that lead .*; they point the other way"):
        bring_in(edit(exported, reverse))


def test_what_an_import_believed_is_said(exported: Path) -> None:
    def change(file: h5py.File) -> None:
        file["data/demo_1/actions"][0, 0] = np.nan
        target = file["data/demo_0/states"][:, 4:6]
        file["data/demo_0/states"][:1, 1:4] = np.append(target[0], 0.0)
        file["data/demo_0/obs/robot0_eef_pos"][:1] = np.append(target[0], 0.0)
        file["data/demo_2/states"][:, 4:6] = 0.5
        for images in ("agentview_image", "robot0_eye_in_hand_image"):
            for demo in ("demo_0", "demo_2"):
                file[f"data/{demo}/obs/{images}"][...] = 0

    shown = bring_in(edit(exported, change), "--render")
    assert "left out 1 (demo_1) that hold NaN or infinity" in shown
    assert "only their rewards say that 1 (demo_2) solve Fake; no state shows it" in shown
    assert "already solved in the first frame: 1 (demo_0); there `random` solves Fake, too" in shown
    with TaskStateViewer(fakes.TASK) as viewer:
        brought = files.read(exported.with_name("brought.hdf5")).demonstrations
        assert [is_solved_at_start(viewer, d) for d in brought] == [True, False]


def _cut(path: Path, demo: str, frames: int) -> None:
    """Keep the first frames of a demonstration of robomimic's."""
    with h5py.File(path, "r+") as file:
        group = file["data"][demo]
        for name in ("states", "actions", "rewards", "dones", *(f"obs/{n}" for n in group["obs"])):
            kept = group[name][:frames]
            del group[name]
            group[name] = kept


def test_unknown_formats_and_tasks_are_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown importer 'robomimc'; did you mean 'robomimic'"):
        run("import", file, "--format", "robomimc", "--task", "Fake", "--out", tmp_path / "x.hdf5")
    with pytest.raises(UnknownNameError, match="unknown exporter 'minary'; did you mean 'minari'"):
        run("export", file, "--format", "minary", "--out", "x")
    assert not (tmp_path / "x.hdf5").exists()


def test_minari_and_back(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minari = pytest.importorskip("minari", reason="needs the extra altbench[minari]")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    assert "minari.load_dataset('altbench/fake-v0')" in run(
        "export", file, "--format", "minari", "--out", "altbench/fake-v0"
    )
    loaded, ours = minari.load_dataset("altbench/fake-v0"), files.read(file)
    episode, first = loaded[0], ours.demonstrations[0]
    assert (loaded.total_episodes, len(episode)) == (3, len(first))
    np.testing.assert_array_equal(episode.actions, first.actions)
    np.testing.assert_array_equal(episode.observations["agent_pos"][:-1], first.agent_pos)
    assert episode.observations["pixels"]["wrist"].shape == (len(first) + 1, 32, 32, 3)
    assert episode.terminations.tolist() == [False] * (len(first) - 1) + [True]
    assert loaded.recover_environment().unwrapped.info.name == "Fake"
    back = tmp_path / "back.hdf5"
    run("import", "altbench/fake-v0", "--format", "minari", "--task", "Fake", "--out", back)
    for a, b in zip(ours.demonstrations, files.read(back).demonstrations, strict=True):
        np.testing.assert_array_equal(a.actions, b.actions)
        np.testing.assert_array_equal(a.states, b.states)
        np.testing.assert_array_equal(a.pixels["wrist"], b.pixels["wrist"])
    with pytest.raises(DatasetError, match="exists; choose another id"):
        run("export", file, "--format", "minari", "--out", "altbench/fake-v0")


def _minari(bounds: tuple[float, float] | None = None, **spec: object) -> str:
    """Metadata of a Minari data set whose Box is the same for all ten numbers."""
    described: dict[str, object] = {"data_format": "hdf5"}
    described["env_spec"] = json.dumps({"id": "altbench/Fake-v0", **spec})
    if bounds is not None:
        low, high = bounds
        described["action_space"] = json.dumps({"type": "Box", "low": [low] * 10, "high": [high] * 10})
    return json.dumps(described)


def test_minari_data_sets_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    def read() -> None:
        exchange.import_file(tmp_path, "minari", "Fake", tmp_path / "out.hdf5")

    with pytest.raises(DatasetError, match=r"there is no metadata\.json in any of"):
        read()
    for content, reason in {
        "[": "expected JSON",
        "{}": "expected data_format hdf5, got None",
        '{"data_format": "hdf5"}': "expected demonstrations of altbench/Fake-v0, got None",
        '{"data_format": "hdf5", "env_spec": "{\\"id\\": \\"altbench/Fake-v0\\"}"}': "expected an HDF5 file",
        _minari(additional_wrappers=[{"name": "RescaleAction"}]): "got ones collected behind RescaleAction",
        _minari(bounds=(-1.0, 1.0)): r"action_space: expected the action space of Fake \(ee_pose\)",
        _minari(bounds=(-np.inf, np.inf)): r"action_space: expected the action space of Fake \(ee_pose\)",
        _minari(additional_wrappers=[{"name": "ClipAction"}], bounds=(-np.inf, np.inf)): "expected an HDF5 file",
    }.items():
        (tmp_path / "metadata.json").write_text(content)
        with pytest.raises(DatasetError, match=reason):
            read()


def _last_frames(human: str, first: int, path: Path) -> Path:
    """The human demonstration from frame `first` on, as a file of its own."""
    with h5py.File(HUMAN / f"{human}.hdf5") as whole, h5py.File(path, "w") as cut:
        whole.copy("data", cut)
        for name in ("states", "actions"):
            frames = cut[f"data/demo_1/{name}"][first:]
            del cut[f"data/demo_1/{name}"]
            cut[f"data/demo_1/{name}"] = frames
    return path


@pytest.mark.sim
@pytest.mark.slow
@pytest.mark.skipif(not (HUMAN / "lift.hdf5").exists(), reason="../shared/data/human_demos is not here")
def test_a_human_demonstration_is_set_drawn_and_recovered(tmp_path: Path) -> None:
    """The last second before the cube is up: twenty of 412 frames, recorded with robosuite 1.0."""
    short = _last_frames("lift", 382, tmp_path / "short.hdf5")
    options = ImportOptions(model=HUMAN / "lift.xml", image_size=(32, 32))
    done = exchange.import_file(short, "robosuite", "Lift", tmp_path / "out.hdf5", options)
    (d,) = done.data.demonstrations
    assert (d.success, len(d), done.left_out) == (True, 19, ())
    assert done.data.meta.versions["actions"] == "as recorded, turns reversed (robosuite 1.0)"
    assert np.linalg.norm(d.actions[:, :3] - d.agent_pos[:, :3], axis=1).max() < 0.05
    assert (d.actions[:, 9] == 1).all()
    assert d.environment_state is not None
    assert np.linalg.norm(d.environment_state[:, 9:], axis=1).max() < 0.02  # the cube is in the gripper
    assert d.pixels["agentview"].std() > 20


@pytest.mark.sim
@pytest.mark.slow
@pytest.mark.skipif(not (HUMAN / "stack.hdf5").exists(), reason="../shared/data/human_demos is not here")
def test_a_human_lets_go_of_the_red_cube_on_the_green(tmp_path: Path) -> None:
    """The last second of 532 frames; the model lies beside the file, under the file's name."""
    short = _last_frames("stack", 501, tmp_path / "stack.hdf5")
    (tmp_path / "stack.xml").write_text((HUMAN / "stack.xml").read_text())
    done = exchange.import_file(short, "robosuite", "Stack", tmp_path / "out.hdf5", ImportOptions(image_size=(32, 32)))
    (d,) = done.data.demonstrations
    assert (d.success, len(d), done.left_out) == (True, 20, ())
    assert (d.actions[0, 9], d.actions[-1, 9]) == (1, -1)
    assert d.environment_state is not None
    red, green = d.environment_state[-1, :3], d.environment_state[-1, 12:15]
    np.testing.assert_allclose(red - green, [0, 0, 0.045], atol=0.02)
    np.testing.assert_allclose(
        d.initial_state.object_pose[[0, 1, 3, 4]], d.environment_state[0, [0, 1, 12, 13]], atol=1e-6
    )


# ------------------------------------------------------------------------------------------------------------ workers

TWO_WORKERS = """
import sys
from pathlib import Path
import fakes
from altbench.dataset.collecting import collect
fakes.register()  # at the top level: workers import this file, too
if __name__ == "__main__":
    print(collect("Fake", 5, Path(sys.argv[1]), image_size=(16, 16), workers=2).checksum)
"""


def test_the_contents_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO_WORKERS)
    paths = [str(Path(fakes.__file__).parent), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "two.hdf5")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [collect("Fake", 5, tmp_path / "one.hdf5", image_size=(16, 16)).checksum]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.hdf5", "two.hdf5", "two.py"]


def test_collect_all_takes_every_task_with_an_expert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "names", lambda kind: ["Fake", "Lift"] if kind == "task" else ["Fake"])
    run("collect", "--all", "--n", 1, "--image-size", 16)
    assert [p.name for p in Path("data").iterdir()] == ["Fake.hdf5"]


# --------------------------------------------------------------------------------------------------------- known sets


@pytest.fixture
def own_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "manifest.toml"
    monkeypatch.setattr(registry, "manifest", lambda: path)
    yield path


def test_a_set_is_known_again(file: Path, own_manifest: Path, tmp_path: Path) -> None:
    assert "knows no set of Fake" in run("manifest", "--task", "Fake", "--data", tmp_path, status=1)
    assert f"wrote {own_manifest}" in run("manifest", "--write", "--task", "Fake", "--data", tmp_path).replace("\n", "")
    assert "the 3 demonstrations that the manifest knows" in run("manifest", "--task", "Fake", "--data", tmp_path)
    assert "the 3 demonstrations that the manifest knows" in run("validate", file, "--no-replay")
    other = collect("Fake", 3, tmp_path / "other.hdf5", root_seed=1, image_size=(16, 16))
    assert known_sets.verdict(other, known_sets.load())[0] is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"seed": 5}, "demonstration 1 was made from another seed"),
        ({"initial_state": None}, "demonstration 1 begins in another state"),
        ({"environment_state": None}, "demonstration 1 ends with an object 0.5 away"),
    ],
)
def test_another_set_is_told_apart(file: Path, change: dict[str, object], reason: str) -> None:
    data = files.read(file)
    d = data.demonstrations[1]
    assert d.environment_state is not None
    start = d.initial_state
    made = {
        "seed": 5,
        "initial_state": replace(start, sim_state=start.sim_state + 1e-6),
        "environment_state": d.environment_state + np.float32(0.5),
    }
    changed = replace(d, **{key: made[key] for key in change})
    known = {"Fake": known_sets.describe(data)}
    last_bits = replace(d, environment_state=d.environment_state + np.float32(1e-3))
    for demonstration, same in ((last_bits, True), (changed, False)):
        found = replace(data, demonstrations=(data.demonstrations[0], demonstration))
        verdict, sentence = known_sets.verdict(found, known)
        assert verdict is same
    assert reason in sentence


def test_the_manifest_that_ships_is_valid() -> None:
    known = known_sets.load()
    assert {"Lift"} <= known.keys() <= set(registry.names("task"))
    for task, entry in known.items():
        assert (
            len(entry.seeds) == len(entry.initial_states) == len(entry.final_objects) == registry.task(task).grid_size
        )


# ------------------------------------------------------------------------------------------------------------- sheets


def test_a_sheet_shows_rows_of_evenly_spaced_frames(file: Path) -> None:
    run("sheet", file, "--rows", 2, "--columns", 3, "--camera", "wrist")
    first, _, last = files.read(file).demonstrations
    with Image.open(file.with_suffix(".png")) as image:
        picture = np.asarray(image)
    side, tall = 4 * 32, 4 * 32 + contact_sheets.GAP
    corner = (contact_sheets.LINE + tall, picture.shape[1] - tall)
    shown = picture[corner[0] : corner[0] + side : 4, corner[1] : corner[1] + side : 4]
    np.testing.assert_array_equal(shown, last.pixels["wrist"][-1])
    assert picture.shape[0] == contact_sheets.LINE + 2 * tall
    assert not np.array_equal(shown, first.pixels["wrist"][0])
    with pytest.raises(UnknownNameError, match="unknown camera 'wirst'; did you mean 'wrist'"):
        run("sheet", file, "--camera", "wirst")
    with pytest.raises(AltbenchError, match=r"expected rows of 2 pictures.* got rows of \[1\]"):
        contact_sheets.contact_sheet([("a", [picture])], ["x", "y"])
