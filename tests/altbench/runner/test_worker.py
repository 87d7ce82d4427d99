"""What a worker keeps from job to job, and that it closes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fakes
import pytest
from running import run_bare

from altbench.core.policy import Requirements
from altbench.runner import worker as worker_module
from altbench.runner.executors import InlineExecutor
from altbench.runner.worker import Worker
from altbench.sweeps.spec import SweepSpec

SWEEP = SweepSpec.parse(
    {
        "name": "fake",
        "tasks": ["Fake"],
        "image_size": [32, 32],
        "device": "cpu",
        "demonstrations": {"n": 6},
        "policies": [{"policy": "random", "n": [6]}],
        "evaluations": [{"split": split, "episodes": 2} for split in ("uniform", "recall")],
        "measure": False,
    },
    "x",
)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The environments that workers make; each counts how often it is closed."""
    found: list[Any] = []

    class Counted(fakes.FakeTask):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    def make(*_: Any) -> Any:
        found.append(Counted(image_size=(32, 32)))
        return found[-1]

    monkeypatch.setattr(worker_module, "make_env", make)
    return found


def test_all_cells_of_a_kind_share_one_environment_which_the_executor_closes(tmp_path: Path, made: list[Any]) -> None:
    executor = InlineExecutor()
    assert run_bare(SWEEP, tmp_path, executor).ran == 2
    assert [env.closed for env in made] == [0]
    executor.close()
    assert [env.closed for env in made] == [1]


def test_each_kind_of_environment_is_made_once_until_the_worker_closes(made: list[Any]) -> None:
    worker = Worker()
    image, state = (Requirements(cameras) for cameras in (("wrist",), ()))
    first = worker.environment("Fake", image, SWEEP)
    assert worker.environment("Fake", image, SWEEP) is first and worker.environment("Fake", state, SWEEP) is not first
    worker.close()
    assert [env.closed for env in made] == [1, 1]
    assert worker.environment("Fake", image, SWEEP) is not first
