"""In which order jobs run, what runs beside what, and that a job can travel to another process."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from altbench.results.run import Run
from altbench.runner.executors import Executor, Outcome
from altbench.runner.jobs import CollectJob, FitJob, Job, MeasureJob, RolloutJob
from altbench.runner.main import pending_jobs
from altbench.runner.progress import Board
from altbench.runner.scheduler import Ended, Scheduler
from altbench.runner.work import Lost
from altbench.sweeps.spec import SweepSpec


def run_of(root: Path, **changes: Any) -> Run:
    values = {
        "name": "fake",
        "tasks": ["Fake"],
        "image_size": [32, 32],
        "device": "cpu",
        "demonstrations": {"n": 6},
        "policies": [{"policy": "open_loop", "n": [3, 6]}],
        "evaluations": [{"split": "recall", "episodes": 4}],
        **changes,
    }
    return Run.begin(root, SweepSpec.parse(values, "x"), "none")


class Scripted(Executor):
    """Ends the job that was given first, one at each look; the jobs called in `failing` end with an error."""

    def __init__(self, threads: int, failing: str = "") -> None:
        self.threads, self.failing = threads, failing
        self.running: list[Job] = []
        self.beside: list[set[str]] = []

    def submit(self, run: Run, job: Job) -> None:
        self.running.append(job)
        self.beside.append({one.name for one in self.running})

    def collect(self, timeout: float) -> list[Outcome]:
        job = self.running.pop(0)
        return [Outcome(job, error="no memory" if job.name == self.failing else "")]

    def kill(self, job: Job) -> None:
        raise AssertionError(f"{job.name} did not hang")

    def close(self) -> None:
        pass


def finish(run: Run, executor: Scripted, jobs: list[Job] | None = None) -> Ended:
    board = Board(Console(file=io.StringIO()), executor.threads)
    return Scheduler(run, executor, board).finish(jobs or pending_jobs(run))


N3, N6 = "fake/open_loop/n3/s0", "fake/open_loop/n6/s0"


def test_cells_wait_for_their_checkpoint_and_measurements_run_alone_at_the_end(tmp_path: Path) -> None:
    executor = Scripted(threads=2)
    ended = finish(run_of(tmp_path), executor)
    assert executor.beside == [
        {f"{N3}/fit"},
        {f"{N3}/fit", f"{N6}/fit"},
        {f"{N6}/fit", f"{N3}/recall/clean"},
        {f"{N3}/recall/clean", f"{N6}/recall/clean"},
        {f"{N3}/measure"},
        {f"{N6}/measure"},
    ]
    assert len(ended.finished) == 6 and ended.failed == {}


def test_a_run_begins_with_its_longest_fit_whatever_the_order_of_its_rows(tmp_path: Path) -> None:
    rows = [{"policy": "open_loop", "n": [6]}, {"policy": "bc", "n": [6], "config": {"train_steps": 5000}}]
    begun = [job.name for job in pending_jobs(run_of(tmp_path, policies=rows))]
    bc, lookup = "fake/bc/n6/s0", "fake/open_loop/n6/s0"
    assert begun == [f"{bc}/fit", f"{lookup}/fit"] + [
        f"{name}/{what}" for what in ("recall/clean", "measure") for name in (lookup, bc)
    ]


def test_jobs_of_several_threads_fill_the_executor_and_one_that_is_too_large_runs_alone(tmp_path: Path) -> None:
    executor = Scripted(threads=3)
    finish(run_of(tmp_path, train_threads=8, rollout_threads=2), executor)
    assert all(len(names) == 1 for names in executor.beside)


def test_a_fit_that_fails_takes_all_that_waits_for_its_checkpoint(tmp_path: Path) -> None:
    ended = finish(run_of(tmp_path), Scripted(threads=1, failing=f"{N3}/fit"))
    lost = "its checkpoint could not be fitted"
    assert ended.failed == {f"{N3}/fit": "no memory", f"{N3}/recall/clean": lost, f"{N3}/measure": lost}
    assert [job.name for job in ended.finished] == [f"{N6}/fit", f"{N6}/recall/clean", f"{N6}/measure"]


def test_a_job_travels_to_another_process_as_it_is_and_without_the_plan(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    jobs: list[Job] = [CollectJob("Fake"), *pending_jobs(run)]
    assert {type(job) for job in jobs} == {CollectJob, FitJob, RolloutJob, MeasureJob}
    assert pickle.loads(pickle.dumps(jobs)) == jobs
    sent = pickle.loads(pickle.dumps(run.for_worker()))
    assert (sent.root, sent.sweep, sent.data, sent.plan.cells) == (run.root, run.sweep, run.data, ())
    assert len({job.key for job in jobs}) == len(jobs)


@pytest.mark.parametrize(("kind", "goes_on"), [(RolloutJob, True), (MeasureJob, False)])
def test_a_cell_alone_goes_on_without_the_episode_that_ended_its_worker(
    tmp_path: Path, kind: type[Job], goes_on: bool
) -> None:
    job = next(job for job in pending_jobs(run_of(tmp_path)) if isinstance(job, kind))
    rest = job.without(Lost(2, "infra_error", "died"))
    assert (rest is not None) == goes_on
    assert rest is None or (rest.key == job.key and rest != job)


def test_a_fit_that_lost_a_worker_in_its_check_goes_on_as_it_is(tmp_path: Path) -> None:
    job = next(job for job in pending_jobs(run_of(tmp_path)) if isinstance(job, FitJob))
    assert job.without(Lost(0, "policy_timeout", "hung")) is job
