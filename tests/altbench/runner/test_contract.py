"""`run` checks the contract before a policy plays: one line, nothing played, said once."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from running import run_bare

from altbench.core.errors import AltbenchError, ContractError
from altbench.results import frames
from altbench.runner.executors import InlineExecutor
from altbench.runner.jobs import CheckJob, Job
from altbench.runner.main import Summary
from altbench.runner.progress import Board
from altbench.sweeps.spec import SweepSpec

POLICIES = '''
import random
import time
import numpy as np
from altbench.api import Decision, Policy, Requirements, Spec, Trainable


class Good(Policy[Spec]):
    name = "good"

    @property
    def requirements(self):
        return Requirements(("wrist",))

    def reset(self, slots, seeds):
        self.rng = np.random.default_rng(seeds[0])

    def act(self, observation, slots):
        return Decision(self.rng.uniform(-1, 1, (len(slots), 8, 10)).astype(np.float32))


class Double(Good):
    def act(self, observation, slots):
        return Decision(super().act(observation, slots).actions.astype(np.float64))


class Wrong(Good):
    def act(self, observation, slots):
        return Decision(super().act(observation, slots).actions[:, :3])


class Nan(Good):
    def act(self, observation, slots):
        return Decision(super().act(observation, slots).actions * np.nan)


class Bare(Good):
    def act(self, observation, slots):
        return super().act(observation, slots).actions


class Mutates(Good):
    def act(self, observation, slots):
        observation.pixels["wrist"][..., 0] = 0
        return super().act(observation, slots)


class Global(Good):
    def act(self, observation, slots):
        return Decision(np.random.uniform(-1, 1, (len(slots), 8, 10)).astype(np.float32))


class PythonsGlobal(Good):
    def act(self, observation, slots):
        return Decision(np.full((len(slots), 8, 10), random.random(), np.float32))


class SeedsGlobal(Good):
    """Is as good as one that has a generator of its own."""

    def reset(self, slots, seeds):
        np.random.seed(seeds[0] % 2**32)

    act = Global.act


class Unseeded(Good):
    def reset(self, slots, seeds):
        self.rng = np.random.default_rng()


class Remembers(Good):
    def reset(self, slots, seeds):
        self.rng = getattr(self, "rng", np.random.default_rng(0))


class Lazy(Good):
    """Makes its network at its first use, with torch's global generator."""

    def act(self, observation, slots):
        import torch

        if not hasattr(self, "net"):
            self.net = torch.nn.LazyLinear(80)
        with torch.no_grad():
            made = self.net(torch.from_numpy(observation.agent_pos[:, -1]))
        return Decision(made.reshape(-1, 8, 10).numpy())


class Absent(Good):
    def act(self, observation, slots):
        return Decision(np.load("gone.npy"))


class Sometimes(Good):
    def act(self, observation, slots):
        raise KeyError("what episodes record")


class Hangs(Good):
    def act(self, observation, slots):
        time.sleep(60)


class Learns(Trainable[Spec]):
    name = "learns"
    requirements = Good.requirements
    reset = Good.reset
    act = Good.act

    def fit(self, demonstrations, context):
        pass

    def save(self, folder):
        (folder / "x.txt").write_text("x")

    def load(self, folder, device="cpu"):
        self.loaded = (folder / "x.txt").read_text()


class LearnsNan(Learns):
    def act(self, observation, slots):
        return Decision(np.full((len(slots), 8, 10), np.nan, np.float32))


class LearnsDouble(Learns):
    def act(self, observation, slots):
        assert self.loaded == "x"
        return Decision(np.zeros((len(slots), 8, 10)))
'''


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(POLICIES)
    return path


def go(own: Path, *names: str, executor: InlineExecutor | None = None, **changes: Any) -> tuple[Summary, str]:
    spec = {
        "name": "checked",
        "tasks": ["Fake"],
        "image_size": [16, 16],
        "device": "cpu",
        "demonstrations": {"n": 2},
        "policies": [{"policy": f"{own}:{name}", "n": [2]} for name in names],
        "evaluations": [{"split": "uniform", "episodes": 2}],
        "measure": False,
        **changes,
    }
    text = io.StringIO()
    board = Board(Console(file=text, width=200))
    return run_bare(SweepSpec.parse(spec, "x"), own.parent / "run", executor, board), text.getvalue()


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("Wrong", r"act: expected actions float32 \(1, 8, 10\), got float32 \(1, 3, 10\)"),
        ("Nan", "act: expected finite actions, got 80 NaN or infinite"),
        ("Bare", "act: expected a Decision, got ndarray"),
        ("Mutates", r"act changes its observation, in pixels\['wrist'\]; copy what you change"),
        ("Global", "decisions depend on global random state; draw from a generator that `reset` seeds"),
        ("PythonsGlobal", "decisions depend on global random state"),
        ("Unseeded", "the same seeds and observations gave other decisions"),
        ("Remembers", "the same seeds and observations gave other decisions"),
        ("Absent", "it reads the file 'gone.npy', which is missing"),
    ],
)
def test_a_broken_contract_is_one_line_before_any_work(own: Path, name: str, fault: str) -> None:
    with pytest.raises(ContractError, match=f"^policy '{name}': {fault}") as caught:
        go(own, "Good", name)
    assert "\n" not in str(caught.value)
    assert not (own.parent / "run" / "cells").exists() and not (own.parent / "run" / "demonstrations").exists()
    with pytest.raises(ContractError):
        go(own, name)  # a fault is looked at anew


def test_all_broken_rows_are_named_at_once(own: Path) -> None:
    with pytest.raises(AltbenchError, match=r"^policy 'Nan': .*; policy 'Wrong': "):
        go(own, "Nan", "Good", "Wrong")


class Counting(InlineExecutor):
    def __init__(self) -> None:
        super().__init__()
        self.checks: list[str] = []

    def submit(self, run: Any, job: Job) -> None:
        if isinstance(job, CheckJob):
            self.checks.append(job.name)
        super().submit(run, job)


def test_what_is_right_is_checked_once(own: Path) -> None:
    executor = Counting()
    summary, shown = go(own, "Good", "SeedsGlobal", "Lazy", executor=executor)
    assert (summary.ran, summary.failed) == (3, ()) and "warning" not in shown
    assert executor.checks == [f"fake/{name}/n2/s0/check" for name in ("Good", "SeedsGlobal", "Lazy")]
    again, _ = go(own, "Good", "SeedsGlobal", "Lazy", executor=executor)
    assert (again.ran, len(executor.checks)) == (0, 3)
    more = [{"split": "uniform", "episodes": 3}]
    assert go(own, "Good", executor=executor, evaluations=more)[0].ran == 1 and len(executor.checks) == 3


def test_float64_is_cast_and_said_once(own: Path, recwarn: pytest.WarningsRecorder) -> None:
    summary, shown = go(own, "Double", "LearnsDouble")
    assert summary.failed == () and set(frames.load_episodes(own.parent / "run")["status"]) == {"ok"}
    for name in ("Double", "LearnsDouble"):
        assert shown.count(f"warning policy '{name}': its actions are float64, and are cast to float32") == 1
    assert "warning" not in go(own, "Double", "LearnsDouble")[1] and not list(recwarn)


def test_what_a_policy_raises_is_left_to_its_episodes(own: Path) -> None:
    summary, _ = go(own, "Sometimes", "Hangs", decision_timeout_s=0.2)
    status = frames.load_episodes(own.parent / "run").groupby("label")["status"].agg(set)
    assert summary.ran == 2 and status.to_dict() == {"Sometimes": {"policy_error"}, "Hangs": {"policy_timeout"}}


def test_a_trainable_is_checked_after_its_fit_and_its_row_alone_fails(own: Path) -> None:
    summary, shown = go(own, "LearnsNan", "Learns")
    fault = "policy 'LearnsNan': act: expected finite actions, got 80 NaN or infinite"
    assert summary.failed[0] == ("fake/LearnsNan/n2/s0/fit", fault) and summary.ran == 1
    assert f"failed fake/LearnsNan/n2/s0/fit: {fault}" in shown
    assert [
        path.name[:16] for path in (own.parent / "run" / "checkpoints").glob("*") if path.suffix != ".training"
    ] == ["fake-Learns-n2-s"]


def test_built_in_policies_are_not_checked(own: Path) -> None:
    executor = Counting()
    go(own, executor=executor, policies=[{"policy": "random", "n": [2]}])
    assert executor.checks == []
