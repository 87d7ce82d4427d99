"""Worker processes: one that hangs for good, or dies, is replaced, and costs one episode at most."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from running import run_bare

from altbench.results import frames
from altbench.runner import scheduler
from altbench.runner.executors import Executor, InlineExecutor, ProcessExecutor, how_it_ended
from altbench.runner.jobs import Job
from altbench.runner.main import Summary
from altbench.runner.progress import Board
from altbench.sweeps.spec import SweepSpec

POLICIES = '''
"""Policies whose worker dies or hangs; workers learn of the fake task here."""

import os
import signal
import time

import fakes
import numpy as np

from altbench.api import Decision, Policy, Requirements
from altbench.api import Spec

fakes.register()


class Stays(Policy):
    """Stands still."""

    name = "stays"
    config_type = Spec

    @property
    def requirements(self):
        return Requirements(self.task.cameras)

    def reset(self, slots, seeds):
        self.seeds = getattr(self, "seeds", set()) | {seeds[0]}  # the check before playing has the first one's
        self.begun = len(self.seeds)

    def act(self, observation, slots):
        return Decision(np.zeros((1, 8, 10), np.float32))


class Dies(Stays):
    """Is killed in the second episode that its worker plays, as where memory runs out."""

    def act(self, observation, slots):
        if self.begun == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().act(observation, slots)


class DiesOnce(Stays):
    """Leaves in its second episode, the first time only."""

    def act(self, observation, slots):
        if self.begun == 2 and not os.path.exists(os.environ["ALTBENCH_TEST_MARK"]):
            open(os.environ["ALTBENCH_TEST_MARK"], "w").close()
            os._exit(3)
        return super().act(observation, slots)


class HangsHard(Stays):
    """Hangs where no signal reaches it, in the second episode that its worker plays."""

    def act(self, observation, slots):
        if self.begun == 2:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
            time.sleep(600)
        return super().act(observation, slots)
'''


@pytest.fixture
def executor() -> Iterator[ProcessExecutor]:
    made = ProcessExecutor(1)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("exitcode", "words"),
    [(-9, "signal 9, SIGKILL"), (-11, "signal 11, SIGSEGV"), (-99, "signal 99"), (3, "exit code 3")],
)
def test_how_a_process_ended_in_words(exitcode: int, words: str) -> None:
    assert how_it_ended(exitcode) == words


def spec_of(policy: str, episodes: int = 2, **changes: Any) -> SweepSpec:
    values = {
        "name": "dying",
        "tasks": ["Fake"],
        "image_size": [32, 32],
        "device": "cpu",
        "demonstrations": {"n": 1},
        "policies": [{"policy": policy, "n": [1]}],
        "evaluations": [{"split": "uniform", "episodes": episodes}],
        "measure": False,  # in a process that knows no fake task
        **changes,
    }
    return SweepSpec.parse(values, "x")


def go(policy: str, root: Path, executor: Executor, episodes: int = 2) -> tuple[Summary, str]:
    text = io.StringIO()
    board = Board(Console(file=text, width=120))
    return run_bare(spec_of(policy, episodes), root, executor, board), text.getvalue()


@pytest.fixture
def dying(tmp_path: Path) -> Path:
    """The file of policies, with demonstrations of the fake task beside it for `go`."""
    path = tmp_path / "dying_policies.py"
    path.write_text(POLICIES)
    go(f"{path}:Stays", tmp_path, InlineExecutor())
    return path


def test_an_episode_whose_worker_dies_is_an_infra_error_and_tried_again_by_the_next_run(
    dying: Path, tmp_path: Path, executor: ProcessExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "WORKER_DEATHS", 1)
    summary, shown = go(f"{dying}:Dies", tmp_path, executor)
    episodes = frames.load_episodes(tmp_path, [summary.run.plan.cells[0].key])
    assert episodes["status"].to_list() == ["ok", "infra_error"]
    assert shown.count("worker lost") == 2
    reason = "its worker process died (signal 9, SIGKILL), 2 times"
    assert episodes["message"].to_list() == ["", reason]
    assert summary.failed[0][1] == f"1 episodes could not be played: {reason}"
    again, _ = go(f"{dying}:Stays", tmp_path, executor)
    assert again.ran == 0, "the other policy's cell is finished"
    # One episode is left, so no worker gets to a second one, and none dies.
    assert go(f"{dying}:Dies", tmp_path, executor)[0].failed == ()


def test_an_episode_whose_worker_died_once_is_played_again(
    dying: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALTBENCH_TEST_MARK", str(tmp_path / "died"))
    executor = ProcessExecutor(1)
    summary, shown = go(f"{dying}:DiesOnce", tmp_path, executor)
    executor.close()
    episodes = frames.load_episodes(tmp_path, [summary.run.plan.cells[0].key])
    assert (tmp_path / "died").exists() and shown.count("worker lost") == 1
    assert episodes["status"].to_list() == ["ok", "ok"] and summary.failed == ()


class Impatient(Board):
    """Lets the runner wait for a worker that says nothing for a few seconds only, until the first is lost.

    Its successor must load everything anew, however busy the machine is.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, text: io.StringIO) -> None:
        super().__init__(Console(file=text, width=120))
        self.monkeypatch, self.usual = monkeypatch, scheduler.HANG_GRACE_S
        monkeypatch.setattr(scheduler, "HANG_GRACE_S", 5.0)

    def retried(self, job: Job) -> None:
        self.monkeypatch.setattr(scheduler, "HANG_GRACE_S", self.usual)
        super().retried(job)


def test_a_worker_that_hangs_is_replaced_and_costs_one_episode(
    dying: Path, tmp_path: Path, executor: ProcessExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(f"{dying}:DiesOnce", tmp_path, executor, episodes=1)  # the worker has loaded everything
    text = io.StringIO()
    spec = spec_of(f"{dying}:HangsHard", decision_timeout_s=1.0)
    summary = run_bare(spec, tmp_path, executor, Impatient(monkeypatch, text))
    episodes = summary.run.episodes()
    assert (summary.ran, summary.failed) == (1, ())
    assert episodes["status"].to_list() == ["ok", "policy_timeout"]
    assert text.getvalue().count("worker lost") == 1
