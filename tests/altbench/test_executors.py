"""Worker processes: one that hangs for good, or dies, is replaced, and costs one episode at most."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from altbench import registry, results, schedule
from altbench.config import SweepSpec
from altbench.executors import Executor, InlineExecutor, ProcessExecutor, how_it_ended
from altbench.progress import Board
from altbench.runner import Summary, run_sweep

DIES = '''
"""Policies whose worker dies; workers learn of the fake task here."""

import os
import signal

import fakes
import numpy as np

from altbench.api import Decision, Policy, Requirements
from altbench.config import Spec

fakes.register()


class Stays(Policy):
    """Stands still."""

    name = "stays"
    config_type = Spec

    @property
    def requirements(self):
        return Requirements(self.task.cameras)

    def reset(self, slots, seeds):
        self.begun = getattr(self, "begun", 0) + 1

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


def go(policy: str, root: Path, executor: Executor) -> tuple[Summary, str]:
    spec = {
        "name": "dying",
        "tasks": ["Fake"],
        "image_size": [32, 32],
        "demonstrations": {"n": 1},
        "policies": [{"policy": policy, "n": [1]}],
        "evaluations": [{"split": "uniform", "episodes": 2}],
    }
    text = io.StringIO()
    board = Board(Console(file=text, width=120))
    return run_sweep(SweepSpec.parse(spec, "x"), root, executor, board, "cpu", "none"), text.getvalue()


@pytest.fixture
def dying(tmp_path: Path) -> Path:
    """The file of policies, with demonstrations of the fake task beside it for `go`."""
    path = tmp_path / "dying_policies.py"
    path.write_text(DIES)
    go(f"{path}:Stays", tmp_path, InlineExecutor())
    return path


def test_an_episode_whose_worker_dies_is_an_infra_error_and_tried_again_by_the_next_run(
    dying: Path, tmp_path: Path, executor: ProcessExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "WORKER_DEATHS", 1)
    summary, shown = go(f"{dying}:Dies", tmp_path, executor)
    episodes = results.load_episodes(tmp_path, [summary.plan.cells[0].key])
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
    episodes = results.load_episodes(tmp_path, [summary.plan.cells[0].key])
    assert (tmp_path / "died").exists() and shown.count("worker lost") == 1
    assert episodes["status"].to_list() == ["ok", "ok"] and summary.failed == ()


@pytest.mark.sim
def test_a_worker_that_hangs_is_replaced_and_costs_one_episode(
    own_policies: Path, tmp_path: Path, executor: ProcessExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "HANG_GRACE_S", 9.0)
    spec = {
        "name": "hanging",
        "tasks": ["Lift"],
        "image_size": [32, 32],
        "decision_timeout_s": 1.0,
        "demonstrations": {"n": 1},
        "policies": [{"policy": f"{own_policies}:HangsHard", "n": [1]}],
        "evaluations": [{"split": "uniform", "episodes": 2}],
    }
    text = io.StringIO()
    board = Board(Console(file=text, width=120))
    summary = run_sweep(SweepSpec.parse(spec, "x"), tmp_path, executor, board, "cpu", registry.choose_renderer())
    episodes = results.load_episodes(tmp_path)
    assert (summary.ran, summary.failed) == (1, ())
    assert episodes["status"].to_list() == ["ok", "policy_timeout"]
    assert "worker lost" in text.getvalue()
