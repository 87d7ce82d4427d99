"""Collecting demonstrations: whole, repeatable, resumable after any interruption; and the commands over them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import fakes
import numpy as np
import pytest
from typer.testing import CliRunner

from altbench.cli.demos.app import app
from altbench.core import registry
from altbench.core.demonstration import Demonstration
from altbench.core.errors import ConfigError, DatasetError, SimulationDiverged, UnknownNameError
from altbench.core.seeds import derive_seed
from altbench.dataset import collecting, collection_plan, files, recorder
from altbench.dataset.collecting import collect, replay
from altbench.system import devices

SIZE = (16, 16)


@pytest.fixture(autouse=True)
def fake_task() -> None:
    fakes.register()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fake.hdf5"


def test_a_file_may_be_named_by_a_text(path: Path) -> None:
    made = collect("Fake", 2, str(path), image_size=SIZE)
    assert files.read(path).checksum == made.checksum and len(collect("Fake", 1, str(path), image_size=SIZE)) == 2


class Reports:
    """A `Progress` that keeps its reports, and stops the work once `stop_at` are done."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at, self.reports = stop_at, []

    def __call__(self, done: int, total: int, metrics: Mapping[str, float]) -> None:
        self.reports.append((done, total, metrics["failed"]))
        if done == self.stop_at:
            raise KeyboardInterrupt


class ClumsyExpert(fakes.FakeExpert):
    """Stays where it is in episodes of `bad` seeds; breaks the physics in those of `worse`."""

    bad: frozenset[int] = frozenset()
    worse: frozenset[int] = frozenset()

    def reset(self, env: Any, seed: int) -> None:
        super().reset(env, seed)
        self._seed = seed

    def act(self, env: Any) -> Any:
        if self._seed in self.worse:
            raise SimulationDiverged("unstable")
        action = super().act(env)
        if self._seed in self.bad:
            action[:3] = (0.0, 0.0, 0.2)
        return action


def use_expert(monkeypatch: pytest.MonkeyPatch, **attributes: Any) -> None:
    expert = type("Expert", (ClumsyExpert,), attributes)
    monkeypatch.setattr(registry, "expert", lambda name: expert())


# ----------------------------------------------------------------------------------------------------------- contents


def test_demonstrations_stand_on_the_grid_and_end_with_success(path: Path) -> None:
    found = collect("Fake", 8, path, image_size=SIZE)
    assert [d.grid_index for d in found.demonstrations] == [0, 1, 2, 3, 4, 5, 0, 1]
    for i, d in enumerate(found.demonstrations):
        assert d.seed == derive_seed(0, "demo", i)
        np.testing.assert_array_equal(d.initial_state.object_pose, fakes.GRID[i % 6])
        np.testing.assert_array_equal(d.initial_state.sim_state, d.states[0])
        assert d.pixels["wrist"].shape == (len(d), *SIZE, 3)
    assert found.meta == fakes.make_meta(environment_state_dim=5, versions=found.meta.versions)
    # The fake task and its expert are not the bench's own, so that their code is named, too.
    assert set(found.meta.versions) == {"mujoco", "robosuite", "task source", "expert source"}
    assert list(path.parent.iterdir()) == [path]


def test_environment_state_is_what_the_state_observation_shows(path: Path) -> None:
    d = collect("Fake", 1, path, image_size=SIZE).demonstrations[0]
    assert d.environment_state is not None
    np.testing.assert_allclose(d.environment_state[:, 2:5], d.agent_pos[:, :3])
    np.testing.assert_allclose(d.environment_state[:, :2], np.tile(fakes.GRID[0], (len(d), 1)), rtol=1e-6)


def test_uniform_placement_is_off_the_grid(path: Path) -> None:
    found = collect("Fake", 4, path, placement="uniform", image_size=SIZE)
    assert {d.grid_index for d in found.demonstrations} == {-1}
    poses = {tuple(d.initial_state.object_pose) for d in found.demonstrations}
    assert len(poses) == 4
    assert poses.isdisjoint(map(tuple, fakes.GRID))


def test_the_same_seed_collects_the_same_and_another_does_not(tmp_path: Path) -> None:
    a, b, other = (
        collect("Fake", 3, tmp_path / f"{i}.hdf5", root_seed=seed, image_size=SIZE) for i, seed in enumerate((0, 0, 1))
    )
    assert a.checksum == b.checksum
    assert not np.array_equal(a.demonstrations[0].states[0], other.demonstrations[0].states[0])


@pytest.mark.parametrize("trouble", ["bad", "worse"])
def test_a_failing_attempt_is_repeated_at_the_same_pose(
    path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    failing = [derive_seed(0, "demo", 1), derive_seed(0, "demo", 1 + collection_plan.MAX_DEMONSTRATIONS)]
    use_expert(monkeypatch, **{trouble: frozenset(failing)})
    progress = Reports()
    found = collect("Fake", 3, path, image_size=SIZE, progress=progress)
    assert [d.grid_index for d in found.demonstrations] == [0, 1, 2]
    assert found.demonstrations[1].seed == derive_seed(0, "demo", 1 + 2 * collection_plan.MAX_DEMONSTRATIONS)
    assert progress.reports == [(0, 3, 0.0), (1, 3, 0.0), (2, 3, 2.0), (3, 3, 2.0)]
    again = Reports()
    collect("Fake", 3, path, image_size=SIZE, progress=again)
    assert again.reports == [(3, 3, 2.0)]


def test_after_a_failure_only_what_succeeds_is_recorded_with_images(
    path: Path, counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = [derive_seed(0, "demo", 1 + k * collection_plan.MAX_DEMONSTRATIONS) for k in range(5)]
    use_expert(monkeypatch, bad=frozenset(seeds[:2]), worse=frozenset(seeds[2:4]))
    found = collect("Fake", 2, path, image_size=SIZE)
    assert counted == [derive_seed(0, "demo", 0), seeds[0], seeds[4]]
    assert found.demonstrations[1].seed == seeds[4] and found.demonstrations[1].pixels["wrist"].any()


def test_an_expert_that_never_succeeds_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection_plan, "MAX_ATTEMPTS", 3)
    use_expert(monkeypatch, bad={derive_seed(0, "demo", 1 + k * collection_plan.MAX_DEMONSTRATIONS) for k in range(3)})
    with pytest.raises(DatasetError, match="the expert of Fake failed 3 times in a row at grid pose 1"):
        collect("Fake", 3, path, image_size=SIZE)
    assert not path.exists()


def films(path: Path) -> dict[str, tuple[int, int]]:
    """Name -> (frames, height) of each film of attempts at the demonstrations in `path`."""
    found = {}
    for film in sorted(path.with_name(path.name + ".films").glob("*.mp4")):
        with av.open(str(film)) as container:
            frames = list(container.decode(video=0))
        found[film.stem] = (len(frames), frames[0].height)
    return found


def failing_expert(monkeypatch: pytest.MonkeyPatch, attempts: int) -> None:
    """Let the expert fail at demonstration 1 `attempts` times; it is given up after 3."""
    monkeypatch.setattr(collection_plan, "MAX_ATTEMPTS", 3)
    seeds = {derive_seed(0, "demo", 1 + k * collection_plan.MAX_DEMONSTRATIONS) for k in range(attempts)}
    use_expert(monkeypatch, bad=frozenset(seeds))
    monkeypatch.setattr(devices, "require_renderer", lambda: "none")


def collect_by_command(path: Path, *options: str) -> Any:
    return CliRunner().invoke(app, ["collect", "Fake", "--n", "2", "--image-size", "16", "--out", str(path), *options])


def test_an_expert_that_is_given_up_leaves_a_film_and_its_path(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing_expert(monkeypatch, 3)
    error = collect_by_command(path).exception
    film = path.with_name("fake.hdf5.films") / "demo1-attempt2-failure.mp4"
    expected = f"the expert of Fake failed 3 times in a row at grid pose 1; the last attempt's film: {film}"
    assert isinstance(error, DatasetError) and str(error) == expected
    assert films(path) == {film.stem: (fakes.TASK.horizon, 16 * 16 + 24)}


def test_failed_attempts_are_filmed_if_asked_and_otherwise_not(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing_expert(monkeypatch, 2)
    assert collect_by_command(path).exit_code == 0 and films(path) == {}
    result = collect_by_command(path, "--watch", "failed", "--force")
    assert list(films(path)) == ["demo1-attempt0-failure", "demo1-attempt1-failure"]
    assert f"2 films in {path}.films" in result.output
    result = collect_by_command(path, "--watch", "all", "--force")
    assert list(films(path)) == [
        "demo0-attempt0-success",
        "demo1-attempt0-failure",
        "demo1-attempt1-failure",
        "demo1-attempt2-success",
    ]
    assert "4 films in" in result.output
    assert isinstance(collect_by_command(path, "--watch", "al").exception, UnknownNameError)


def test_a_film_ends_where_the_simulation_diverged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "require_renderer", lambda: "none")
    use_expert(monkeypatch, worse=frozenset({derive_seed(0, "demo", 0)}))
    assert collect_by_command(path, "--watch", "failed").exit_code == 0
    assert films(path) == {"demo0-attempt0-failure": (1, 16 * 16 + 24)}


def test_films_do_not_change_what_is_collected(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing_expert(monkeypatch, 2)
    plain = collect("Fake", 2, tmp_path / "plain.hdf5", image_size=SIZE)
    collect_by_command(path, "--watch", "all")
    assert files.read(path).checksum == plain.checksum


def test_impossible_requests_are_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match="got 0"):
        collect("Fake", 0, path)
    with pytest.raises(UnknownNameError, match="unknown task 'Fale'; did you mean 'Fake'"):
        collect("Fale", 1, path)
    with pytest.raises(ConfigError, match=r"image_size\.0"):
        collect("Fake", 1, path, image_size=(0, 0))


def test_an_unwritable_place_is_refused_before_the_simulator_starts(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.touch()
    monkeypatch.setattr(collection_plan, "Recorder", None)
    with pytest.raises(DatasetError, match=r"x\.hdf5\.parts: cannot be made: Not a directory"):
        collect("Fake", 1, path / "x.hdf5")


# ------------------------------------------------------------------------------------------------------------- resume


@pytest.fixture
def whole(tmp_path: Path) -> files.Dataset:
    """Five demonstrations, collected without interruption."""
    return collect("Fake", 5, tmp_path / "whole.hdf5", image_size=SIZE)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of all attempts that are recorded."""
    seeds: list[int] = []
    record = recorder.Recorder.record

    def counting(self: Any, seed: int, options: Any) -> Any:
        seeds.append(seed)
        return record(self, seed, options)

    monkeypatch.setattr(recorder.Recorder, "record", counting)
    return seeds


def parts(path: Path) -> list[Path]:
    return sorted(path.with_name(path.name + ".parts").glob("demo_*"))


def test_an_interruption_costs_nothing_that_was_finished(path: Path, whole: files.Dataset, counted: list[int]) -> None:
    with pytest.raises(KeyboardInterrupt):
        collect("Fake", 5, path, image_size=SIZE, progress=Reports(stop_at=3))
    assert not path.exists()
    assert len(parts(path)) == len(counted) == 3
    progress = Reports()
    assert collect("Fake", 5, path, image_size=SIZE, progress=progress).checksum == whole.checksum
    assert progress.reports[0] == (3, 5, 0.0)
    assert counted == [derive_seed(0, "demo", i) for i in range(5)]


KILLED = """
import os, signal, sys
from pathlib import Path
import fakes
from altbench.dataset.collecting import collect
fakes.register()
def progress(done, total, metrics):
    if done == 2:
        os.kill(os.getpid(), signal.SIGKILL)
collect("Fake", 5, Path(sys.argv[1]), image_size=(16, 16), progress=progress)
"""


def test_kill_9_costs_nothing_that_was_finished(path: Path, whole: files.Dataset, counted: list[int]) -> None:
    tests = Path(fakes.__file__).parent
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=tests, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(parts(path)) == 2
    assert collect("Fake", 5, path, image_size=SIZE).checksum == whole.checksum
    assert len(counted) == 3


def test_damaged_and_foreign_parts_are_collected_again(path: Path, whole: files.Dataset, counted: list[int]) -> None:
    for other in ({"root_seed": 1}, {"root_seed": 0}):
        with pytest.raises(KeyboardInterrupt):
            collect("Fake", 5, path, image_size=SIZE, progress=Reports(stop_at=4), **other)
    first, second, third, _ = parts(path)
    first.write_bytes(first.read_bytes()[:-1])
    third.write_bytes(second.read_bytes())
    counted.clear()
    assert collect("Fake", 5, path, image_size=SIZE).checksum == whole.checksum
    assert counted == [derive_seed(0, "demo", i) for i in (0, 2, 4)]


def test_a_file_with_enough_is_left_alone_without_a_simulator(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collect("Fake", 5, path, image_size=SIZE)
    before = path.stat()
    monkeypatch.setattr(collection_plan, "Recorder", None)
    assert len(collect("Fake", 3, path, image_size=SIZE)) == 5
    assert path.stat() == before


def test_a_shorter_file_is_extended(path: Path, whole: files.Dataset, counted: list[int]) -> None:
    collect("Fake", 2, path, image_size=SIZE)
    counted.clear()
    assert collect("Fake", 5, path, image_size=SIZE).checksum == whole.checksum
    assert len(counted) == 3


def test_a_file_with_other_settings_is_kept(path: Path) -> None:
    collect("Fake", 2, path, image_size=SIZE)
    before = path.read_bytes()
    with pytest.raises(DatasetError, match=r"root_seed 0 \(wanted 1\); choose another file, or .* --force"):
        collect("Fake", 2, path, root_seed=1, image_size=SIZE)
    with pytest.raises(DatasetError, match=r"placement grid \(wanted uniform\)"):
        collect("Fake", 5, path, placement="uniform", image_size=SIZE)
    assert path.read_bytes() == before


def test_a_worker_keeps_its_recorder_for_a_plan_and_closes_it_for_another(path: Path) -> None:
    def plan(size: int) -> collection_plan.CollectionPlan:
        settings = {"root_seed": 0, "placement": "grid", "render_profile": "fast", "expert": None}
        return collection_plan.plan_collection("Fake", path, image_size=(size, size), **settings)

    closed: list[object] = []
    worker = collecting._Worker()
    first = worker.recorder(plan(16))
    first.close = lambda: closed.append(first)
    assert worker.recorder(plan(16)) is first and not closed
    second = worker.recorder(plan(24))
    assert second is not first and closed == [first]
    made = second.record(0, {"split": "grid", "episode": 0})
    assert made is not None and made.pixels["wrist"].shape[1:3] == (24, 24)


# ------------------------------------------------------------------------------------------------------------- replay


def test_replay_succeeds_with_the_recorded_actions_alone(path: Path) -> None:
    first, second = collect("Fake", 2, path, image_size=SIZE).demonstrations
    stuck = replace(second, actions=np.zeros_like(second.actions))
    assert list(replay("Fake", [first, second, stuck])) == [True, True, False]


@pytest.mark.slow
@pytest.mark.sim
def test_lift_demonstrations_replay(tmp_path: Path) -> None:
    found = collect("Lift", 2, tmp_path / "lift.hdf5")
    assert found.meta.pose_names == ("x", "y", "yaw")
    assert found.meta.image_size == (84, 84)
    assert all(d.pixels["agentview"].std() > 20 for d in found.demonstrations)
    assert list(replay("Lift", found.demonstrations)) == [True, True]


# ----------------------------------------------------------------------------------------------------------- commands


def run(*arguments: object) -> str:
    """Standard output of `altbench demos ARGUMENTS`; raises what the command raises."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False, env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def file(path: Path) -> Iterator[Path]:
    run("collect", "Fake", "--n", 3, "--out", path, "--image-size", 16)
    yield path


def test_info_describes_the_file(file: Path) -> None:
    output = "".join(run("info", file).split())
    found = files.info(file)
    for word in ("Fake", "3(3successful)", "agentview,wrist", "16×16", str(sum(found.lengths)), "ee_pose"):
        assert word in output
    assert found.checksum[:40] in output


def test_collect_goes_on_or_starts_over(file: Path, counted: list[int]) -> None:
    run("collect", "Fake", "--n", 4, "--out", file, "--image-size", 16)
    assert len(counted) == 1
    with pytest.raises(DatasetError, match="other settings"):
        run("collect", "Fake", "--n", 4, "--out", file, "--image-size", 16, "--uniform")
    run("collect", "Fake", "--n", 2, "--out", file, "--image-size", 16, "--uniform", "--force")
    assert files.info(file).grid_indices == (-1, -1)


def test_default_files_differ_by_placement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("collect", "Fake", "--n", 1, "--image-size", 16)
    run("collect", "Fake", "--n", 1, "--image-size", 16, "--uniform")
    assert sorted(p.name for p in Path("data").iterdir()) == ["Fake-uniform.hdf5", "Fake.hdf5"]


def test_an_interrupted_collect_says_that_it_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(collecting, "collect", interrupted)
    result = CliRunner().invoke(app, ["collect", "Fake", "--out", str(path)])
    assert result.exit_code == 130
    assert "the same command goes on from there" in result.output


def test_play_writes_all_frames_of_both_cameras(file: Path) -> None:
    run("play", file, "--demo", 2)
    with av.open(str(file.with_name("fake-demo2.mp4"))) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(frames) == files.info(file).lengths[2]
    assert frames[0].shape == (256 + 24, 512, 3)
    with pytest.raises(DatasetError, match="expected a demonstration from 0 to 2, got 3"):
        run("play", file, "--demo", 3)


def test_validate_checks_the_file_and_replays_it(file: Path) -> None:
    assert "all 3 succeed when replayed" in run("validate", file)
    found = files.read(file)

    def write(change: Callable[[Demonstration], Demonstration]) -> None:
        files.write(file, [change(d) if d.index == 1 else d for d in found.demonstrations], found.meta)

    write(lambda d: replace(d, actions=np.zeros_like(d.actions)))
    assert "are right" in run("validate", "--no-replay", file)
    with pytest.raises(DatasetError, match="demonstration 1: expected actions that lead from each recorded state"):
        run("validate", file)
    write(lambda d: replace(d, initial_state=found.demonstrations[0].initial_state))
    with pytest.raises(DatasetError, match=r"demonstrations \[1\] fail when replayed; they were made with .*mujoco"):
        run("validate", file)
    write(lambda d: replace(d, actions=d.actions + np.float32(5)))
    with pytest.raises(
        DatasetError, match="demonstration 1: frame 0: expected ee_pose actions, whose number 0 is from"
    ):
        run("validate", "--no-replay", file)


def test_help_shows_examples() -> None:
    assert "altbench demos collect Lift --n 30" in run("collect", "--help")
    for command in ("collect", "info", "play", "validate"):
        assert command in run("--help")
