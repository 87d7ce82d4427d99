"""Sweeps on the fake task: resumed, repeated, killed, and never done twice."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakes
import gymnasium
import pandas as pd
import pytest
import synthetic
import tomli_w
from rich.console import Console
from running import run_bare
from typer.testing import CliRunner

from altbench.cli import run as commands
from altbench.cli.app import app
from altbench.core import registry
from altbench.core.errors import AltbenchError, DatasetError, ResultsError
from altbench.report import figures, outputs
from altbench.results import cells as cells_module
from altbench.results import frames, measures
from altbench.results.folder import RunFolder
from altbench.results.run import Run
from altbench.runner import main, work, worker
from altbench.runner.executors import InlineExecutor
from altbench.runner.jobs import FitJob, Job, RolloutJob
from altbench.runner.main import Summary, pending_jobs
from altbench.runner.progress import Board
from altbench.sweeps.plan import Measurement
from altbench.sweeps.spec import SweepSpec
from altbench.system import sealed

BC = {
    "policy": "bc",
    "n": [3, 6],
    "config": {"train_steps": 3, "encoder": "cnn4", "width": 0.25, "batch_size": 4, "shift": 0},
}


def sweep(own: Path, **changes: Any) -> SweepSpec:
    spec = {
        "name": "fake",
        "tasks": ["Fake"],
        "image_size": [32, 32],
        "device": "cpu",
        "demonstrations": {"n": 6},
        "policies": [{"policy": f"{own}:Good", "n": [6]}, BC],
        "evaluations": [{"split": "replay", "episodes": "each"}, {"split": "uniform", "episodes": 4}],
        "measure": False,  # it starts processes that know no fake task; test_measure.py tests it on a real one
        **changes,
    }
    return SweepSpec.parse(spec, "fake.toml")


def go(spec: SweepSpec, root: Path, executor: InlineExecutor | None = None) -> tuple[Summary, str]:
    text = io.StringIO()
    board = Board(Console(file=text, width=120))
    return run_bare(spec, root, executor, board), text.getvalue()


def success_csv(summary: Summary) -> bytes:
    outputs.write(summary.run)
    return (summary.run.root / "tables" / "success.csv").read_bytes()


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figures, since each takes longer than its run: for tests of tables and records."""
    monkeypatch.setattr(figures, "write_figures", lambda *_: ([], ()))


class Twin(fakes.FakeTask):
    """A second task, which differs from the fake one in its name alone."""

    info = dataclasses.replace(fakes.TASK, name="Twin")


@pytest.fixture
def twin() -> Iterator[None]:
    """Register `Twin`, whose expert is the fake one's."""
    registry.register("task", "Twin", Twin)
    registry.register("expert", "Twin", "fakes:FakeExpert")
    yield
    del registry._REGISTERED["task"]["Twin"], registry._REGISTERED["expert"]["Twin"]
    del gymnasium.registry["altbench/Twin-v0"]


@pytest.mark.usefixtures("twin")
def test_a_task_without_demonstrations_stops_no_other(
    own_policies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, collect = sweep(own_policies, tasks=["Fake", "Twin"]), work.collect

    def collect_or_fail(run: Run, task: str, *rest: Any) -> None:
        if task in hopeless:
            raise DatasetError(f"the expert of {task} failed")
        collect(run, task, *rest)

    monkeypatch.setattr(work, "collect", collect_or_fail)
    hopeless = {"Fake", "Twin"}
    with pytest.raises(AltbenchError, match="fake/demonstrations: the expert of Fake failed"):
        go(spec, tmp_path)
    hopeless = {"Twin"}
    summary, _ = go(spec, tmp_path)
    assert (summary.found, summary.ran) == (0, 6)
    assert summary.failed == (("twin/demonstrations", "the expert of Twin failed"),)
    assert summary.run.lacking == ("demonstrations of Twin: 6 to collect",)
    assert set(summary.episodes()["task"]) == {"Fake"} and {c.checkpoint.task for c in summary.run.plan.cells} == set(
        spec.tasks
    )
    hopeless = set()
    summary, _ = go(spec, tmp_path)
    assert (summary.found, summary.ran, summary.failed) == (6, 6, ())


def test_a_sweep_runs_and_is_found_finished_afterwards(own_policies: Path, tmp_path: Path) -> None:
    summary, shown = go(sweep(own_policies), tmp_path)
    assert (summary.ran, summary.found, summary.failed) == (6, 0, ())
    assert "lift" not in shown and "fake/bc/n3/s0/uniform/clean" in shown
    episodes = frames.load_episodes(tmp_path)
    good = episodes[(episodes["label"] == "Good") & (episodes["split"] == "uniform")]
    assert len(episodes) == 6 + 4 + 3 + 4 + 6 + 4 and good["success"].all()
    again, shown = go(sweep(own_policies), tmp_path)
    assert (again.ran, again.found, shown) == (0, 6, "")


class WritesElsewhere(InlineExecutor):
    """Deletes each record as soon as its job has ended, as if the job had written it to another folder."""

    def submit(self, run: Run, job: Job) -> None:
        super().submit(run, job)
        if isinstance(job, RolloutJob):
            cells_module.cell_path(run.root, job.cell.key).unlink()


def test_a_run_whose_cells_are_missing_at_its_end_has_failed_and_names_them(own_policies: Path, tmp_path: Path) -> None:
    one = sweep(own_policies, policies=[{"policy": f"{own_policies}:Good", "n": [6]}])
    summary = run_bare(one, tmp_path, WritesElsewhere())
    assert [name for name, _ in summary.failed] == [cell.name for cell in summary.run.plan.cells] != []
    assert all("expected its record in" in why and "run the sweep again" in why for _, why in summary.failed)


@pytest.mark.parametrize("damaged", [False, True], ids=["missing", "damaged"])
def test_a_run_whose_measurement_is_missing_has_failed_with_exit_status_1(
    own_policies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    """A measurement that ended well leaves nothing, or half a file."""

    def measure(run: Run, measurement: Measurement, worker: object) -> None:
        if damaged:
            measures.write_measure(run.root, measurement.key, synthetic.measure("bc"))
            path = measures.measure_path(run.root, measurement.key)
            path.write_bytes(path.read_bytes()[:-9])

    one = sweep(own_policies, policies=[{**BC, "n": [6]}], measure={"decisions": 2})
    run_bare(one.model_copy(update={"measure": None}), tmp_path)
    monkeypatch.setattr(work, "measure", measure)
    for module in (main, commands):
        monkeypatch.setattr(module, "require_renderer", lambda: "none")
    sweep_file = tmp_path / "fake.toml"
    sweep_file.write_text(tomli_w.dumps(one.model_dump(mode="json", exclude_none=True)))
    found = CliRunner().invoke(app, ["run", str(sweep_file), "--out", str(tmp_path), "--workers", "0"])
    assert "/measure: expected its record in" in found.output and "missing or damaged" in found.output
    assert found.exit_code == 1


def test_a_damaged_record_or_checkpoint_is_made_again(own_policies: Path, tmp_path: Path) -> None:
    one = sweep(own_policies, policies=[BC])
    first = run_bare(one, tmp_path)
    assert first.failed == ()
    weights = next(path for path in (tmp_path / "checkpoints").rglob("*.safetensors"))
    for path in (cells_module.cell_path(tmp_path, first.run.plan.cells[0].key), weights):
        whole = path.read_bytes()
        path.write_bytes(whole[:300] + bytes([whole[300] ^ 1]) + whole[301:])
    again = run_bare(one, tmp_path)
    assert (again.ran, again.failed) == (1, ())
    assert weights.read_bytes()[:300] == whole[:300] and weights.read_bytes()[300] == whole[300]


@pytest.mark.usefixtures("undrawn")
def test_a_sweep_twice_gives_the_same_tables(own_policies: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    tables = [success_csv(go(sweep(own_policies), root)[0]) for root in (first, second)]
    assert tables[0] == tables[1]


def test_a_second_sweep_in_the_process_trains_on_what_it_collected(own_policies: Path, tmp_path: Path) -> None:
    small = {**BC, "n": [3]}
    go(sweep(own_policies, demonstrations={"n": 3}, policies=[small]), tmp_path)
    summary, _ = go(sweep(own_policies, demonstrations={"n": 6}, policies=[{**BC, "n": [6]}]), tmp_path)
    assert summary.failed == ()
    assert {checkpoint.n for checkpoint in summary.run.plan.checkpoints} == {6}


class KilledAfter(InlineExecutor):
    """Is interrupted, as by Ctrl-C, when it is given job number `count`."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count, self.given = count, []  # type: tuple[int, list[Any]]

    def submit(self, run: Any, job: Any) -> None:
        if len(self.given) == self.count:
            raise KeyboardInterrupt
        self.given.append(job)
        super().submit(run, job)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("count", [2, 4])
def test_an_interrupted_sweep_goes_on_and_repeats_nothing(own_policies: Path, tmp_path: Path, count: int) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    table = success_csv(go(sweep(own_policies), whole)[0])
    stopped, rest = KilledAfter(count), KilledAfter(10**6)
    with pytest.raises(KeyboardInterrupt):
        go(sweep(own_policies), cut, stopped)
    summary, _ = go(sweep(own_policies), cut, rest)
    finished = {job.name for job in stopped.given}
    assert not finished & {job.name for job in rest.given}
    assert success_csv(summary) == table


def test_more_episodes_make_new_cells_but_keep_checkpoints(own_policies: Path, tmp_path: Path) -> None:
    go(sweep(own_policies), tmp_path)
    executor = KilledAfter(10**6)
    evaluations = [{"split": "replay", "episodes": "each"}, {"split": "uniform", "episodes": 5}]
    summary, _ = go(sweep(own_policies, evaluations=evaluations), tmp_path, executor)
    assert (summary.ran, summary.found) == (3, 3)
    assert not [job for job in executor.given if isinstance(job, FitJob)]


@pytest.mark.usefixtures("undrawn")
def test_two_sweeps_share_a_folder_and_have_tables_of_their_own(own_policies: Path, tmp_path: Path) -> None:
    first = sweep(own_policies, evaluations=[{"split": "replay", "episodes": "each"}])
    both = [{"split": "replay", "episodes": "each"}, {"split": "uniform", "episodes": 3}]
    second = sweep(own_policies, policies=[{**BC, "n": [6]}], evaluations=both)
    a, _ = go(first, tmp_path)
    outputs.write(a.run, tmp_path / "a")
    cells = {path: path.read_bytes() for path in (tmp_path / "cells").iterdir()}
    executor = KilledAfter(10**6)
    b, _ = go(second, tmp_path, executor)
    outputs.write(b.run, tmp_path / "b")
    assert (a.ran, b.ran, b.found) == (3, 1, 1)
    assert [job.name for job in executor.given] == ["fake/bc/n6/s0/uniform/clean"], "the checkpoint is not fitted again"
    assert {path: path.read_bytes() for path in cells} == cells
    own = {name: set(frames.load_published(tmp_path / name)["name"]) for name in "ab"}
    assert own["a"] == {cell.name for cell in a.run.plan.cells} and own["b"] == {cell.name for cell in b.run.plan.cells}
    tables = [len((tmp_path / name / "tables" / "success.csv").read_text().splitlines()) - 1 for name in "ab"]
    assert tables == [3, 2] and go(first, tmp_path)[0].found == 3


def test_sweeps_that_share_names_are_told_apart_by_their_keys(own_policies: Path, tmp_path: Path) -> None:
    policies = [{"policy": f"{own_policies}:Good", "n": [6]}]
    few, more = (
        sweep(own_policies, policies=policies, evaluations=[{"split": "uniform", "episodes": k}]) for k in (2, 3)
    )
    counts = [len(go(one, tmp_path)[0].run.episodes()) for one in (few, more, few)]
    assert counts == [2, 3, 2]


def test_records_are_there_for_any_analysis(own_policies: Path, tmp_path: Path) -> None:
    summary, _ = go(sweep(own_policies, policies=[{"policy": f"{own_policies}:Good", "n": [6]}]), tmp_path)
    keys = [cell.key for cell in summary.run.plan.cells]
    cells = {cell.header.name: cell.episodes for cell in frames.load_cells(tmp_path, keys)}
    assert set(cells) == {cell.name for cell in summary.run.plan.cells}
    assert [len(episodes[0].trajectory) for episodes in cells.values()] == [e[0].steps for e in cells.values()]
    frame, decisions = summary.run.episodes(), summary.run.decisions()
    pd.testing.assert_frame_equal(frame, frames.load_episodes(tmp_path))
    pd.testing.assert_frame_equal(decisions, frames.load_decisions(tmp_path))


@pytest.mark.parametrize("out", [None, "report"])
def test_a_sweep_made_in_python_is_run_in_one_call(
    own_policies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str | None
) -> None:
    monkeypatch.setattr(main, "require_renderer", lambda: "none")
    spec = sweep(own_policies, policies=[{"policy": f"{own_policies}:Good", "n": [6]}])
    summary = main.run(spec, tmp_path / "run", workers=0, out=tmp_path / out if out else None)
    assert (summary.run.root, summary.ran, summary.failed) == (tmp_path / "run", 2, ())
    assert all(cells_module.is_finished(tmp_path / "run", cell.key) for cell in summary.run.plan.cells)
    told = tmp_path / (out or "run")
    for name in ("tables/success.csv", "episodes.parquet", "fingerprint.json", "sweep.json"):
        assert (told / name).is_file()
    assert (tmp_path / "run" / "tables").exists() == (out is None)


@pytest.mark.usefixtures("undrawn")
def test_at_its_end_a_run_reads_each_cell_once(
    own_policies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = sweep(own_policies, policies=[{"policy": f"{own_policies}:Good", "n": [6]}])
    go(spec, tmp_path)
    read, whole = [], cells_module.read_table
    monkeypatch.setattr(frames, "read_table", lambda path, columns: read.append(path) or whole(path, columns))
    summary, _ = go(spec, tmp_path)
    outputs.write(summary.run)
    outputs.show(summary.run, Console(file=io.StringIO()))
    assert sorted(read) == sorted(cells_module.cell_path(tmp_path, cell.key) for cell in summary.run.plan.cells)


def test_a_truncated_cell_is_run_again(own_policies: Path, tmp_path: Path) -> None:
    summary, _ = go(sweep(own_policies), tmp_path)
    path = cells_module.cell_path(tmp_path, summary.run.plan.cells[0].key)
    path.write_bytes(path.read_bytes()[:100])
    assert go(sweep(own_policies), tmp_path)[0].ran == 1


def test_policies_that_break_are_counted_and_stop_nothing(own_policies: Path, tmp_path: Path) -> None:
    policies = [{"policy": f"{own_policies}:{name}", "n": [6]} for name in ("Good", "Fails", "Raises")]
    evaluations = [{"split": "uniform", "episodes": 6}]
    summary, _ = go(sweep(own_policies, policies=policies, evaluations=evaluations), tmp_path)
    episodes = frames.load_episodes(tmp_path)
    status = episodes.groupby("label")["status"].agg(lambda s: sorted(set(s)))
    assert status["Good"] == ["ok"] and status["Fails"] == ["given_up", "policy_error"]
    assert status["Raises"] == ["ok", "policy_error"]
    assert [name for name, _ in summary.failed] == ["fake/Fails/n6"], "a row with nothing but errors"


def test_a_fit_that_fails_takes_its_cells_with_it_and_no_others(own_policies: Path, tmp_path: Path) -> None:
    policies = [{"policy": f"{own_policies}:{name}", "n": [6]} for name in ("CannotFit", "Good")]
    summary, shown = go(sweep(own_policies, policies=policies), tmp_path)
    assert summary.failed[0][0] == "fake/CannotFit/n6/s0/fit"
    assert len(summary.failed) == 3 and summary.ran == 2
    assert "failed fake/CannotFit/n6/s0/fit: RuntimeError: no fit to 6" in shown


def test_two_runs_in_one_folder_are_refused(
    own_policies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "require_renderer", lambda: "none")
    with (
        RunFolder(tmp_path).locked(),
        pytest.raises(AltbenchError, match=r"in use by process \d+ \(.*\); wait for it, or"),
    ):
        main.run(sweep(own_policies), tmp_path, workers=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(AltbenchError, match=r"file: expected a folder, .*a file is there; choose another --out"):
        main.run(sweep(own_policies), tmp_path / "file", workers=0)


class Dying(InlineExecutor):
    """Loses the worker of every cell `times` times before it does the job."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times: dict[str, int] = {}
        self.limit = times

    def submit(self, run: Any, job: Any) -> None:
        from altbench.runner.executors import Outcome

        if isinstance(job, RolloutJob) and self.times.get(job.key, 0) < self.limit:
            self.times[job.key] = self.times.get(job.key, 0) + 1
            self._ended.append(Outcome(job, died="exit code 1"))
            return
        super().submit(run, job)


def test_a_worker_that_dies_is_replaced_and_gives_up_at_last(own_policies: Path, tmp_path: Path) -> None:
    policies = [{"policy": f"{own_policies}:Good", "n": [6]}]
    spec = sweep(own_policies, policies=policies)
    lost, shown = go(spec, tmp_path, Dying(3))
    assert lost.ran == 0 and "worker lost" in shown
    assert [reason for _, reason in lost.failed] == ["its worker process died (exit code 1), 3 times"] * 2
    assert go(spec, tmp_path, Dying(2))[0].ran == 2


def test_a_heartbeat_left_by_a_killed_run_is_not_taken_for_a_worker_that_hangs(
    own_policies: Path, tmp_path: Path
) -> None:
    spec = sweep(own_policies, policies=[{"policy": f"{own_policies}:Good", "n": [6]}])
    summary, _ = go(spec, tmp_path / "before")
    left = RunFolder(tmp_path / "run").progress
    left.mkdir(parents=True)
    for cell in summary.run.plan.cells:
        (left / f"{cell.key}.json").write_text('{"done": 2, "total": 4, "metrics": {}, "number": 7}')
    assert go(spec, tmp_path / "run")[0].ran == 2
    assert frames.load_episodes(tmp_path / "run")["success"].all()


def test_a_run_deletes_nobody_elses_temporary_files(own_policies: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "work" / "notes.tmp"
    theirs.parent.mkdir()
    theirs.write_text("mine")
    (tmp_path / "other.tmp").write_text("mine")
    ours = tmp_path / "cells" / ".cell.parquet.0a1b2c3d.tmp"
    ours.parent.mkdir()
    ours.write_text("half")
    go(sweep(own_policies, policies=[{"policy": f"{own_policies}:Good", "n": [6]}]), tmp_path)
    assert theirs.exists() and (tmp_path / "other.tmp").exists() and not ours.exists()


class Flaky(fakes.FakeTask):
    """Runs out of something in its third episode, and in the repetition of it."""

    resets = 0

    def reset(self, **kwargs: Any) -> Any:
        Flaky.resets += 1
        if Flaky.resets in (3, 4):
            raise OSError("no more GL contexts")
        return super().reset(**kwargs)


@pytest.mark.usefixtures("undrawn")
def test_infra_errors_are_counted_shown_and_alone_played_again(
    own_policies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies = [{"policy": f"{own_policies}:Good", "n": [6]}]
    spec = sweep(own_policies, policies=policies, evaluations=[{"split": "uniform", "episodes": 5}])
    monkeypatch.setattr(worker, "make_env", lambda *_: Flaky(image_size=(32, 32)))
    first, _ = go(spec, tmp_path)
    name, reason = first.failed[0]
    assert "1 episodes could not be played: OSError: no more GL contexts" in reason and name.endswith("uniform/clean")
    outputs.write(first.run)
    assert "4,4," in (tmp_path / "tables" / "success.csv").read_text(), "four of five are in the denominator"
    before = Flaky.resets
    second, _ = go(spec, tmp_path)
    assert Flaky.resets == before + 1 and second.failed == ()
    assert frames.load_episodes(tmp_path)["success"].sum() == 5


@pytest.mark.parametrize("name", ["Tuned", "TunedAfterFit"])
def test_rows_that_share_a_checkpoint_play_with_their_own_settings(
    own_policies: Path, tmp_path: Path, name: str
) -> None:
    policy = {"policy": f"{own_policies}:{name}", "n": [6]}
    rows = [{**policy, "label": str(gain), "config": {"gain": gain}} for gain in (1.0, -3.0, None)]
    evaluations = [{"split": "uniform", "episodes": 4}]
    summary, _ = go(sweep(own_policies, policies=rows, evaluations=evaluations), tmp_path)
    assert len(summary.run.plan.checkpoints) == 1
    episodes = frames.load_episodes(tmp_path).groupby("label")
    assert episodes["success"].sum().to_dict() == {"-3.0": 0, "1.0": 4, "None": 0}
    assert (episodes.get_group("None")["status"] == "policy_error").all() and not episodes["steps"].sum()["None"]


@pytest.mark.usefixtures("undrawn")
def test_cells_whose_checkpoint_cannot_be_fitted_are_missing_and_tried_again(
    own_policies: Path, tmp_path: Path
) -> None:
    policies = [{"policy": f"{own_policies}:CannotFit", "n": [6]}]
    spec = sweep(own_policies, policies=policies, evaluations=[{"split": "uniform", "episodes": 5}])
    summary, _ = go(spec, tmp_path)
    episodes = summary.run.episodes()
    assert set(episodes["status"]) == {"infra_error"} and len(episodes) == 5
    assert set(episodes["message"]) == {"its checkpoint could not be fitted"}
    outputs.write(summary.run)
    assert "5 missing" in (tmp_path / "tables" / "success.md").read_text()
    names = [name for name, _ in summary.failed]
    assert sorted(set(names)) == sorted(names) and "fake/CannotFit/n6/s0/uniform/clean" in names
    assert {job.kind for job in pending_jobs(summary.run)} >= {"cell", "checkpoint"}
    log = tmp_path / "logs" / "fake-CannotFit-n6-s0-fit.log"
    assert "RuntimeError: no fit to 6" in log.read_text() and "in fit" in log.read_text()


@pytest.mark.usefixtures("undrawn")
def test_tables_follow_a_cell_that_is_not_finished_yet(
    own_policies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies = [{"policy": f"{own_policies}:Good", "n": [6]}]
    spec = sweep(own_policies, policies=policies, evaluations=[{"split": "uniform", "episodes": 5}])
    for broken in (3, 1):
        monkeypatch.setattr(worker, "make_env", lambda *_, lost=broken: Lossy(lost))
        summary, _ = go(spec, tmp_path)
        assert f",{broken}," in success_csv(summary).decode().splitlines()[1]
        assert pd.read_csv(tmp_path / "tables" / "success.csv")["infra_errors"].to_list() == [broken]


class Lossy(fakes.FakeTask):
    """Breaks down in the first `lost` episodes that it plays."""

    broken: int = 0

    def __init__(self, lost: int) -> None:
        super().__init__(image_size=(32, 32))
        self.lost = lost

    def reset(self, **arguments: Any) -> Any:
        if arguments["options"]["episode"] >= 5 - self.lost:
            raise OSError("no more GL contexts")
        return super().reset(**arguments)


@pytest.mark.parametrize("changes", [{"image_size": [24, 24]}, {"demonstrations": {"n": 6, "seed": 1}}])
def test_demonstrations_made_for_another_sweep_are_refused(
    own_policies: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    go(sweep(own_policies), tmp_path)
    with pytest.raises(DatasetError, match="the sweep wants"):
        go(sweep(own_policies, **changes), tmp_path)


@pytest.mark.usefixtures("undrawn")
def test_an_event_happens_in_every_episode_and_is_recorded(own_policies: Path, tmp_path: Path) -> None:
    evaluations = [{"split": "uniform", "episodes": 3, "event": {"move_at": at, "by": 0.05}} for at in (1, 39)]
    policies = [{"policy": f"{own_policies}:Good", "n": [6]}]
    summary, _ = go(sweep(own_policies, policies=policies, evaluations=evaluations), tmp_path)
    episodes = frames.load_episodes(tmp_path)
    moved = episodes.groupby("split")["moved"].agg(list)
    assert moved.to_dict() == {"uniform+move1by0.05": [True] * 3, "uniform+move39by0.05": [False] * 3}
    assert b",uniform+move1by0.05,clean,0,3," in success_csv(summary)


def test_a_renamed_row_is_another_row(own_policies: Path, tmp_path: Path) -> None:
    policy = {"policy": f"{own_policies}:Good", "n": [6]}
    go(sweep(own_policies, policies=[policy]), tmp_path)
    renamed, _ = go(sweep(own_policies, policies=[{**policy, "label": "renamed"}]), tmp_path)
    assert renamed.ran == 2
    assert set(frames.load_episodes(tmp_path, [c.key for c in renamed.run.plan.cells])["label"]) == {"renamed"}


def test_a_renamed_row_takes_up_the_checkpoint_that_is_there(own_policies: Path, tmp_path: Path) -> None:
    go(sweep(own_policies, policies=[BC]), tmp_path)
    executor = KilledAfter(10**6)
    go(sweep(own_policies, policies=[{**BC, "label": "renamed"}]), tmp_path, executor)
    assert {type(job) for job in executor.given} == {RolloutJob}
    assert len(list((tmp_path / "checkpoints").iterdir())) == len(BC["n"])


@pytest.mark.usefixtures("undrawn")
def test_deleted_outputs_are_made_again(own_policies: Path, tmp_path: Path) -> None:
    summary, _ = go(sweep(own_policies), tmp_path)
    table = success_csv(summary)
    (tmp_path / "tables" / "success.csv").unlink()
    assert success_csv(summary) == table


@pytest.mark.usefixtures("undrawn")
def test_a_sweep_without_measurements_has_no_tables_of_costs(own_policies: Path, tmp_path: Path) -> None:
    summary, shown = go(sweep(own_policies, policies=[BC]), tmp_path)
    success_csv(summary)
    assert summary.failed == () and "measure" not in shown
    assert {path.stem for path in (tmp_path / "tables").iterdir()}.isdisjoint({"latency", "memory", "ratios"})


@pytest.mark.usefixtures("undrawn")
def test_a_new_measurement_of_the_same_checkpoint_gives_new_tables(own_policies: Path, tmp_path: Path) -> None:
    go(sweep(own_policies, policies=[BC]), tmp_path)
    run = Run.open(tmp_path, sweep(own_policies, policies=[BC], measure={"decisions": 2}), "none")
    for seconds in (0.001, 0.002):
        measures.write_measure(tmp_path, run.plan.measurements[0].key, synthetic.measure("bc", p50=seconds))
        outputs.write(run)
        assert pd.read_csv(tmp_path / "tables" / "latency.csv")["latency_p50_s"].to_list() == [seconds]


def test_a_published_run_is_drawn_again_from_its_records(own_policies: Path, tmp_path: Path) -> None:
    summary, _ = go(sweep(own_policies), tmp_path / "run")
    table = success_csv(summary)
    published = tmp_path / "published"
    published.mkdir()
    for name in ("episodes.parquet", "fingerprint.json", "outputs.json"):
        (published / name).write_bytes((tmp_path / "run" / name).read_bytes())
    (published / "figures").mkdir()
    old = published / "figures" / "of_an_older_version.png"
    old.write_text("")
    listed = json.loads((published / "outputs.json").read_text())
    listed["files"].append(str(old.relative_to(published)))
    sealed.write_json(published / "outputs.json", {name: listed[name] for name in ("made_of", "files")})
    fingerprint = (published / "fingerprint.json").read_bytes()
    names, failures = outputs.redraw(published)
    assert (published / "tables" / "success.csv").read_bytes() == table and not old.exists()
    assert all((published / name).is_file() for name in names) and failures == ()
    assert (published / "fingerprint.json").read_bytes() == fingerprint
    with pytest.raises(ResultsError, match=r"expected a run's folder, with episodes.parquet and fingerprint.json"):
        outputs.redraw(tmp_path)
