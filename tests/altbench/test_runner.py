"""Sweeps on the fake task: resumed, repeated, killed, and never done twice."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from altbench import outputs, results, runner
from altbench.config import SweepSpec
from altbench.errors import AltbenchError
from altbench.executors import InlineExecutor
from altbench.jobs import FitJob, RolloutJob
from altbench.progress import Board
from altbench.runner import Summary, run_sweep
from altbench.store import RunFolder

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
        "demonstrations": {"n": 6},
        "policies": [{"policy": f"{own}:Good", "n": [6]}, BC],
        "evaluations": [{"split": "replay", "episodes": "each"}, {"split": "uniform", "episodes": 4}],
        "measure": {"decisions": 2, "warmup": 1},
        **changes,
    }
    return SweepSpec.parse(spec, "fake.toml")


def go(spec: SweepSpec, root: Path, executor: InlineExecutor | None = None) -> tuple[Summary, str]:
    text = io.StringIO()
    board = Board(Console(file=text, width=120))
    return run_sweep(spec, root, executor or InlineExecutor(), board, "cpu", "none"), text.getvalue()


@pytest.fixture(autouse=True)
def _no_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring starts processes that know no fake task; test_measure.py tests it on the real one."""
    monkeypatch.setattr(runner, "_measured", lambda plan: ())


def success_csv(root: Path, summary: Summary) -> bytes:
    outputs.write(root, summary.plan, "none")
    return (root / "tables" / "success.csv").read_bytes()


def test_a_sweep_runs_and_is_found_finished_afterwards(own_policies: Path, tmp_path: Path) -> None:
    summary, shown = go(sweep(own_policies), tmp_path)
    assert (summary.ran, summary.found, summary.failed) == (6, 0, ())
    assert "lift" not in shown and "fake/bc/n3/s0/uniform/clean" in shown
    episodes = results.load_episodes(tmp_path)
    good = episodes[(episodes["label"] == "Good") & (episodes["split"] == "uniform")]
    assert len(episodes) == 6 + 4 + 3 + 4 + 6 + 4 and good["success"].all()
    again, shown = go(sweep(own_policies), tmp_path)
    assert (again.ran, again.found, shown) == (0, 6, "")


def test_a_sweep_twice_gives_the_same_tables(own_policies: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    tables = [success_csv(root, go(sweep(own_policies), root)[0]) for root in (first, second)]
    assert tables[0] == tables[1]


class KilledAfter(InlineExecutor):
    """Is interrupted, as by Ctrl-C, when it is given job number `count`."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count, self.given = count, []  # type: tuple[int, list[Any]]

    def submit(self, setting: Any, job: Any) -> None:
        if len(self.given) == self.count:
            raise KeyboardInterrupt
        self.given.append(job)
        super().submit(setting, job)


@pytest.mark.parametrize("count", [2, 4])
def test_an_interrupted_sweep_goes_on_and_repeats_nothing(own_policies: Path, tmp_path: Path, count: int) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    table = success_csv(whole, go(sweep(own_policies), whole)[0])
    stopped, rest = KilledAfter(count), KilledAfter(10**6)
    with pytest.raises(KeyboardInterrupt):
        go(sweep(own_policies), cut, stopped)
    summary, _ = go(sweep(own_policies), cut, rest)
    finished = {job.name for job in stopped.given}
    assert not finished & {job.name for job in rest.given}
    assert success_csv(cut, summary) == table


def test_more_episodes_or_another_seed_make_new_cells_but_keep_checkpoints(own_policies: Path, tmp_path: Path) -> None:
    go(sweep(own_policies), tmp_path)
    executor = KilledAfter(10**6)
    evaluations = [{"split": "replay", "episodes": "each"}, {"split": "uniform", "episodes": 5}]
    summary, _ = go(sweep(own_policies, evaluations=evaluations), tmp_path, executor)
    assert (summary.ran, summary.found) == (3, 3)
    assert not [job for job in executor.given if isinstance(job, FitJob)]


def test_a_truncated_cell_is_run_again(own_policies: Path, tmp_path: Path) -> None:
    summary, _ = go(sweep(own_policies), tmp_path)
    path = results.cell_path(tmp_path, summary.plan.cells[0].key)
    path.write_bytes(path.read_bytes()[:100])
    assert go(sweep(own_policies), tmp_path)[0].ran == 1


def test_policies_that_break_are_counted_and_stop_nothing(own_policies: Path, tmp_path: Path) -> None:
    policies = [{"policy": f"{own_policies}:{name}", "n": [6]} for name in ("Good", "Nan", "Raises")]
    evaluations = [{"split": "uniform", "episodes": 6}]
    summary, _ = go(sweep(own_policies, policies=policies, evaluations=evaluations), tmp_path)
    episodes = results.load_episodes(tmp_path)
    status = episodes.groupby("label")["status"].agg(lambda s: sorted(set(s)))
    assert status["Good"] == ["ok"] and status["Nan"] == ["policy_error"]
    assert "policy_error" in status["Raises"] and summary.failed == ()


def test_a_fit_that_fails_takes_its_cells_with_it_and_no_others(own_policies: Path, tmp_path: Path) -> None:
    policies = [{"policy": f"{own_policies}:{name}", "n": [6]} for name in ("CannotFit", "Good")]
    summary, shown = go(sweep(own_policies, policies=policies), tmp_path)
    assert summary.failed[0][0] == "fake/CannotFit/n6/s0/fit"
    assert len(summary.failed) == 3 and summary.ran == 2
    assert "failed fake/CannotFit/n6/s0/fit: RuntimeError: no fit to 6" in shown


def test_two_runs_in_one_folder_are_refused(own_policies: Path, tmp_path: Path) -> None:
    with RunFolder(tmp_path).locked(), pytest.raises(AltbenchError, match="another run is using this folder"):
        go(sweep(own_policies), tmp_path)


class Dying(InlineExecutor):
    """Loses the worker of every cell `times` times before it does the job."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times: dict[str, int] = {}
        self.limit = times

    def submit(self, setting: Any, job: Any) -> None:
        from altbench.executors import Outcome

        if isinstance(job, RolloutJob) and self.times.get(job.key, 0) < self.limit:
            self.times[job.key] = self.times.get(job.key, 0) + 1
            self._ended.append(Outcome(job, None, died=True))
            return
        super().submit(setting, job)


def test_a_worker_that_dies_is_replaced_and_gives_up_at_last(own_policies: Path, tmp_path: Path) -> None:
    policies = [{"policy": f"{own_policies}:Good", "n": [6]}]
    spec = sweep(own_policies, policies=policies)
    lost, shown = go(spec, tmp_path, Dying(3))
    assert lost.ran == 0 and len(lost.failed) == 2 and "worker lost" in shown
    assert go(spec, tmp_path, Dying(2))[0].ran == 2
