"""Worker processes on the real task: one that hangs for good is replaced, and costs one episode."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from altbench import registry, results, schedule
from altbench.config import SweepSpec
from altbench.executors import ProcessExecutor
from altbench.progress import Board
from altbench.runner import run_sweep

pytestmark = pytest.mark.sim


@pytest.fixture
def executor() -> Iterator[ProcessExecutor]:
    made = ProcessExecutor(1)
    yield made
    made.close()


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
