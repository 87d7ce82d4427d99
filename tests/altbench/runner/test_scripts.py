"""Scripts that call altbench without a main guard, and policies that change the working directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from running import run_bare

from altbench.core.errors import AltbenchError
from altbench.dataset.collecting import collect
from altbench.results.run import Run
from altbench.rollout import limits
from altbench.runner import executors, main
from altbench.runner.executors import InlineExecutor, ProcessExecutor
from altbench.sweeps.spec import SweepSpec
from altbench.system import workers
from altbench.system.member import Answer

SCRIPT = """
import operator, sys
sys.path.insert(0, {tests!r})
import fakes
fakes.register()
from altbench.core.errors import AltbenchError
from altbench.dataset.collecting import collect
from altbench.runner import main
from altbench.sweeps.spec import SweepSpec
from altbench.system.workers import finished
main.require_renderer = lambda: "none"
SWEEP = SweepSpec.parse({{
    "name": "script", "tasks": ["Fake"], "demonstrations": {{"n": 2}}, "image_size": [32, 32],
    "policies": [{{"policy": "open_loop", "n": [2]}}], "evaluations": [{{"split": "replay", "episodes": 1}}],
}}, "script")
{guard}
try:
    {call}
except AltbenchError as error:
    print("refused:", error)
    raise SystemExit(2)
print("finished")
"""
CALLS = {
    "altbench.run": 'main.run(SWEEP, "out", workers=2)',
    "altbench.collect": 'collect("Fake", 2, "out/Fake.hdf5", image_size=(32, 32), workers=2)',
    "worker processes": "list(finished(operator.truediv, 1, [1], workers=2))",
}


def script(folder: Path, call: str, guard: str) -> subprocess.CompletedProcess[str]:
    tests = str(Path(__file__).parents[2])
    (folder / "script.py").write_text(SCRIPT.format(tests=tests, call=call, guard=guard))
    command = [sys.executable, "script.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("name", CALLS)
def test_a_script_without_a_main_guard_is_told_so_in_one_line(tmp_path: Path, name: str) -> None:
    done = script(tmp_path, CALLS[name], guard="")
    assert done.returncode == 2, done.stderr
    told = done.stdout.splitlines()
    assert len(told) == 1 and told[0].startswith(f"refused: {name}: worker processes import the script")
    assert 'if __name__ == "__main__":' in told[0]
    assert "Traceback" not in done.stderr and "in use by" not in done.stderr


def test_a_script_whose_workers_cannot_start_is_told_so(tmp_path: Path) -> None:
    guard = 'if __name__ != "__main__":\n    raise ImportError("never in a worker")'
    done = script(tmp_path, CALLS["worker processes"], guard)
    assert done.returncode == 2
    assert "refused: no worker process could start" in done.stdout


def test_outside_a_workers_start_nothing_is_refused() -> None:
    workers.refuse_second_import("altbench.run")


OWN_POLICY = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
import fakes, numpy as np
fakes.register()
import altbench
from altbench.api import Decision, Policy, Requirements, Spec
from altbench.runner.executors import ProcessExecutor
from altbench.sweeps.spec import SweepSpec
from running import run_bare


class Still(Policy[Spec]):
    name = "still"

    @property
    def requirements(self):
        return Requirements((), 1, 1, 1)

    def reset(self, slots, seeds):
        pass

    def act(self, observation, slots):
        return Decision(np.eye(1, self.task.action_dim(), dtype=np.float32)[:, None])


altbench.register("policy", "still", Still)
SWEEP = SweepSpec.parse({{
    "name": "script", "tasks": ["Fake"], "demonstrations": {{"n": 2}}, "image_size": [32, 32], "measure": False,
    "policies": [{{"policy": "still", "n": [2]}}], "evaluations": [{{"split": "replay", "episodes": 1}}],
}}, "script")
if __name__ == "__main__":
    executor = ProcessExecutor(1)
    print("failed:", run_bare(SWEEP, Path("out"), executor).failed)
    executor.close()
"""


def test_a_policy_that_a_script_registers_has_the_same_code_in_a_worker(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(OWN_POLICY.format(tests=str(Path(__file__).parents[2])))
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "failed: ()" in done.stdout


def spec(file: str, **settings: object) -> SweepSpec:
    values = {
        "name": "here",
        "tasks": ["Fake"],
        "demonstrations": {"n": 2},
        "image_size": [32, 32],
        "policies": [{"policy": f"{file}:Wanders", "n": [2]}, {"policy": f"{file}:Reads", "n": [2]}],
        "evaluations": [{"split": "uniform", "episodes": 2}],
        "measure": False,
    }
    return SweepSpec.parse(values | settings, "here")


WANDERING = """
import os
import fakes, numpy as np
from altbench.api import Decision, Policy, Requirements, Spec

fakes.register()

class Reads(Policy):
    name = "reads"
    config_type = Spec
    @property
    def requirements(self):
        return Requirements(self.task.cameras)
    def reset(self, slots, seeds):
        pass
    def act(self, observation, slots):
        return Decision(np.zeros((1, 8, 10), np.float32))

class Wanders(Reads):
    name = "wanders"
    def act(self, observation, slots):
        os.chdir("elsewhere" if os.path.isdir("elsewhere") else ".")
        return super().act(observation, slots)
"""


@pytest.mark.parametrize("many", [False, True], ids=["inline", "workers"])
def test_a_policy_that_changes_the_directory_sends_nothing_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "wandering.py").write_text(WANDERING)
    monkeypatch.chdir(tmp_path)
    tests = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", f"{tests}:{os.environ.get('PYTHONPATH', '')}")
    # A new worker knows the fake task only once it has read the policies' file.
    collect("Fake", 2, "out/demonstrations/Fake.hdf5", image_size=(32, 32))
    executor = ProcessExecutor(1) if many else InlineExecutor()
    try:
        # The policies' file and the run's folder are named relative to where the run began.
        summary = run_bare(spec("wandering.py"), Path("out"), executor)
    finally:
        executor.close()
    assert Path.cwd() == tmp_path
    assert summary.failed == () and summary.ran == 2
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert set(summary.run.episodes()["status"]) == {"ok"}
    assert summary.run.root == tmp_path / "out"


def test_a_job_begins_and_ends_in_the_runs_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner").mkdir()
    with executors._working_in(str(tmp_path / "inner")):
        assert Path.cwd() == tmp_path / "inner"
        os.chdir("/")
    assert Path.cwd() == tmp_path / "inner"
    with executors._working_in(str(tmp_path / "gone")):
        pass


def test_cells_that_are_missing_at_the_end_are_failures(
    own_policies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main.RolloutJob, "do", lambda *_: None)
    one = spec(str(own_policies), policies=[{"policy": f"{own_policies}:Good", "n": [2]}])
    summary = run_bare(one, tmp_path)
    assert [name for name, _ in summary.failed] == ["fake/Good/n2/s0/uniform/clean"]
    assert f"expected its record in {tmp_path}" in summary.failed[0][1]


def test_no_more_workers_are_started_than_there_are_jobs_at_once(
    own_policies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[FakeMember] = []

    class FakeMember:
        pid = 0

        def __init__(self) -> None:
            started.append(self)

        def ask(self, *_: object) -> None:
            pass

        def sources(self) -> list[object]:
            return []

        def answer(self) -> Answer:
            return Answer("")

        def end(self) -> None:
            pass

    monkeypatch.setattr(executors, "first_member", FakeMember)
    monkeypatch.setattr(executors, "Member", FakeMember)
    good = [{"policy": f"{own_policies}:Good", "n": [2]}]
    executor, begun = ProcessExecutor(16), Run.begin(tmp_path, spec("", policies=good), "none")
    jobs = [main.CollectJob(name) for name in "abc"]
    assert executor.threads == 16 and started == []
    for some in (jobs, jobs[:2], jobs[:1]):
        for job in some:
            executor.submit(begun, job)
        assert {outcome.job for outcome in executor.collect(0)} == set(some)
    assert len(started) == 3
    executor.close()


@pytest.mark.parametrize("limit", [float("inf"), float("nan"), 0, -1, 1e12])
def test_a_limit_that_no_timer_takes_is_refused_before_any_work(limit: float, own_policies: Path) -> None:
    import altbench as ab

    with pytest.raises(AltbenchError, match=r"decision_timeout_s: expected .*(86400|over 0|finite)"):
        spec(str(own_policies), decision_timeout_s=limit)
    with pytest.raises(AltbenchError, match=r"decision_timeout_s: expected seconds over 0 and up to 86400"):
        ab.evaluate(lambda observation: None, "Fake", decision_timeout_s=limit)


def test_an_error_of_the_benchs_own_timer_is_not_the_policys(monkeypatch: pytest.MonkeyPatch) -> None:
    import altbench as ab

    def refuse(*_: object) -> None:
        raise OverflowError("timestamp out of range")

    monkeypatch.setattr(limits.signal, "setitimer", refuse)
    frame = ab.evaluate(lambda observation: np.zeros(10, np.float32), "Fake", episodes=1, image_size=(32, 32))
    assert list(frame["status"]) == ["infra_error"] and "timestamp" in frame["message"].iloc[0]
