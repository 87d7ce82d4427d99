"""Policies that misbehave in worker processes: what is recorded, what it costs, what is left behind."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from running import run_bare

from altbench.report.success import success_table
from altbench.results import cells
from altbench.runner import jobs, main, scheduler
from altbench.runner.executors import Executor, InlineExecutor, ProcessExecutor, how_it_ended
from altbench.runner.main import Summary, pending_jobs
from altbench.runner.progress import Board
from altbench.sweeps.spec import SweepSpec
from altbench.system import job_log, processes

POLICIES = '''
"""Policies that misbehave; workers learn of the fake task here."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

import fakes
import numpy as np

from altbench.api import Decision, Policy, Requirements, Trainable
from altbench.api import Spec
from altbench.core.seeds import derive_seed

fakes.register()
HERE = os.path.dirname(os.path.abspath(__file__))
FIRST, SECOND = derive_seed(0, "policy", 0), derive_seed(0, "policy", 1)


def once(name):
    """Return whether this is the first call with `name`, in any process."""
    try:
        os.close(os.open(os.path.join(HERE, name), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


class Stays(Policy):
    """Stands still, but in its first episode goes to the target."""

    name = "stays"
    config_type = Spec

    @property
    def requirements(self):
        return Requirements((), needs_state=True)

    def reset(self, slots, seeds):
        self.episode = {FIRST: 0, SECOND: 1}.get(seeds[0], 2)

    def act(self, observation, slots):
        actions = np.zeros((1, 8, 10), np.float32)
        actions[0, :, 3] = actions[0, :, 7] = 1
        if self.episode == 0:
            actions[0, :, :2] = observation.environment_state[0, -1, :2]
        return Decision(actions)


class LeavesWhenLosing(Stays):
    def act(self, observation, slots):
        if self.episode:
            os._exit(0)
        return super().act(observation, slots)


class Segfaults(Stays):
    def reset(self, slots, seeds):
        super().reset(slots, seeds)
        if self.episode == 1:
            os.write(1, b"about to fall\\n")
            print("over the edge", end="")
            sys.stdout.flush()
            ctypes.string_at(0)


class KilledElsewhere(Stays):
    """Is killed in its second episode while the simulator is at work, as if memory ran out."""

    def act(self, observation, slots):
        if self.episode == 1:
            # The next phase begins at once, and its first act is to take this list's length.
            class Bomb(np.ndarray):
                def __getitem__(self, index):
                    if sys._getframe(1).f_code.co_name == "_play":
                        os.kill(os.getpid(), signal.SIGKILL)
                    return super().__getitem__(index)
            actions = super().act(observation, slots).actions
            return Decision(actions.view(Bomb))
        return super().act(observation, slots)


class DiesOnce(Stays):
    def act(self, observation, slots):
        if self.episode == 1 and once("died"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.episode == 0:
            with open(os.path.join(HERE, "first"), "a") as file:
                file.write(".")
        return super().act(observation, slots)


class HangsHard(Stays):
    """Hangs where no signal reaches it."""

    def act(self, observation, slots):
        if self.episode == 1:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
            time.sleep(600)
        return super().act(observation, slots)


class Stopped(Stays):
    """Is stopped, as by another's kill -STOP, once."""

    def act(self, observation, slots):
        if self.episode == 1 and once("stopped"):
            os.kill(os.getpid(), signal.SIGSTOP)
        return super().act(observation, slots)


class DiesOnceFitted(Trainable):
    name = "DiesOnceFitted"
    config_type = Spec

    @property
    def requirements(self):
        return Requirements((), needs_state=True)

    def fit(self, demonstrations, context):
        with open(os.path.join(HERE, "fits"), "a") as file:
            file.write(".")

    def save(self, folder):
        (folder / "weights.txt").write_text("1")

    def load(self, folder, device="cpu"):
        pass

    def reset(self, slots, seeds):
        pass

    def act(self, observation, slots):
        os.kill(os.getpid(), signal.SIGKILL)


class HangsOnceFitted(DiesOnceFitted):
    name = "HangsOnceFitted"

    def act(self, observation, slots):
        while True:
            try:
                time.sleep(600)
            except BaseException:
                pass


class Swallows(Stays):
    def act(self, observation, slots):
        try:
            time.sleep(600)
        except BaseException:
            pass
        return super().act(observation, slots)


class Raises(Stays):
    def act(self, observation, slots):
        print("thinking", self.episode)
        raise ValueError("no idea")


class TellsOfTorch(Stays):
    def act(self, observation, slots):
        raise ValueError("torch is loaded" if "torch" in sys.modules else "torch is not loaded")


class Interrupts(Stays):
    def act(self, observation, slots):
        raise KeyboardInterrupt


class RaisesThenStays(Stays):
    def act(self, observation, slots):
        if self.episode < 2:
            raise ValueError("not yet")
        return super().act(observation, slots)


class Shouts(Stays):
    def act(self, observation, slots):
        os.write(2, b"x" * 99 + b"\\n")
        for _ in range(2000):
            print("y" * 999)
        return super().act(observation, slots)


class Forks(Stays):
    """Leaves children behind, one of them in a session of its own."""

    def reset(self, slots, seeds):
        super().reset(slots, seeds)
        subprocess.Popen(["sleep", "611"])
        subprocess.Popen(["setsid", "sleep", "612"])


class Spins(Stays):
    """Starts threads that do not end."""

    def reset(self, slots, seeds):
        super().reset(slots, seeds)
        for _ in range(60):
            threading.Thread(target=time.sleep, args=[600], daemon=True).start()
        time.sleep(3)


class Hungry(Stays):
    def act(self, observation, slots):
        if self.episode == 1:
            raise MemoryError("Unable to allocate 3 TiB")
        return super().act(observation, slots)
'''


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessExecutor]:
    """One executor for most tests: a new worker costs a second."""
    made = ProcessExecutor(1)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("exitcode", "words"),
    [(-9, "signal 9, SIGKILL"), (-11, "signal 11, SIGSEGV"), (-99, "signal 99"), (3, "exit code 3")],
)
def test_how_a_process_ended_in_words(exitcode: int, words: str) -> None:
    assert how_it_ended(exitcode) == words


def spec_of(policy: str, episodes: int = 3, **changes: Any) -> SweepSpec:
    values = {
        "name": "naughty",
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


@pytest.fixture
def naughty(tmp_path: Path) -> Path:
    """The file of policies, with demonstrations of the fake task beside it for `go`."""
    path = tmp_path / "naughty.py"
    path.write_text(POLICIES)
    run_bare(spec_of(f"{path}:Stays", episodes=1), tmp_path)
    return path


def go(naughty: Path, name: str, executor: Executor, episodes: int = 3, **changes: Any) -> tuple[Summary, str]:
    text = io.StringIO()
    board = Board(Console(file=text, width=200))
    spec = spec_of(f"{naughty}:{name}", episodes, **changes)
    return run_bare(spec, naughty.parent, executor, board), text.getvalue()


def statuses(summary: Summary) -> list[str]:
    return summary.run.episodes()["status"].to_list()


def log_of(naughty: Path, name: str) -> Path:
    return naughty.parent / "logs" / f"fake-{name}-n1-s0-uniform-clean.log"


@pytest.fixture
def two_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost worker fewer: each costs two seconds."""
    monkeypatch.setattr(jobs.Job, "tries", 2)


@pytest.mark.usefixtures("two_tries")
def test_a_policy_that_leaves_when_it_is_losing_has_lost(naughty: Path, pool: ProcessExecutor) -> None:
    summary, shown = go(naughty, "LeavesWhenLosing", pool, episodes=5, give_up_after=1)
    assert statuses(summary) == ["ok", "policy_crash", "given_up", "given_up", "given_up"]
    assert shown.count("worker lost") == 1, "one line for both tries of the episode"
    message = summary.run.episodes()["message"][1]
    assert message == "its worker process died (exit code 0), 2 times while the policy was asked (decision)"
    log = summary.run.folder.log(summary.run.plan.cells[0].name).read_text()
    assert "--- in episode 1 (decision): its worker process died (exit code 0)" in log
    table = success_table(summary.run.episodes()).data.iloc[0]
    assert (table["successes"], table["episodes"]) == (1, 5)
    assert summary.failed == ()
    again, _ = go(naughty, "LeavesWhenLosing", pool, episodes=5, give_up_after=1)
    assert (again.ran, again.found) == (0, 1), "a crash is an outcome, not tried again"


@pytest.mark.usefixtures("two_tries")
def test_a_crash_in_reset_is_the_policys_and_its_last_words_are_in_the_log(
    naughty: Path, pool: ProcessExecutor
) -> None:
    summary, _ = go(naughty, "Segfaults", pool)
    assert statuses(summary) == ["ok", "policy_crash", "ok"]
    assert "signal 11, SIGSEGV" in summary.run.episodes()["message"][1]
    log = log_of(naughty, "Segfaults").read_text()
    assert log.count("about to fall\nover the edge") == 2
    assert "Segmentation fault" in log and 'naughty.py", line' in log, "faulthandler's stack"


@pytest.mark.usefixtures("two_tries")
def test_what_dies_while_the_policy_is_not_asked_is_missing_and_alone_tried_again(
    naughty: Path, tmp_path: Path, pool: ProcessExecutor
) -> None:
    summary, _ = go(naughty, "KilledElsewhere", pool)
    assert statuses(summary) == ["ok", "infra_error", "ok"]
    reason = "its worker process died (signal 9, SIGKILL), 2 times"
    assert summary.failed[0][1] == f"1 episodes could not be played: {reason}"
    assert [job.kind for job in pending_jobs(summary.run)] == ["cell"]
    assert sorted(cells.outcomes(tmp_path, summary.run.plan.cells[0].key)) == [0, 2]


def test_a_worker_that_died_costs_no_episode_but_its_own(naughty: Path, pool: ProcessExecutor, unchecked: None) -> None:
    summary, shown = go(naughty, "DiesOnce", pool)
    assert statuses(summary) == ["ok", "ok", "ok"] and summary.failed == ()
    assert shown.count("worker lost") == 1
    decisions = len(summary.run.decisions().query("episode == 0"))
    assert (naughty.parent / "first").read_text() == "." * decisions, "the first episode was played once"


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No check before playing: it would ask the policy, and wait for it, too."""
    monkeypatch.setattr(main, "_check_policies", lambda *_: None)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for phase in ("reset", "decision"):
        monkeypatch.setitem(jobs.SILENCE_S, phase, 1.0)


@pytest.mark.usefixtures("impatient", "two_tries")
@pytest.mark.parametrize(
    ("name", "status"), [("DiesOnceFitted", "policy_crash"), ("HangsOnceFitted", "policy_timeout")]
)
def test_a_fitted_policy_that_dies_or_hangs_in_its_check_is_fitted_once_and_judged_by_its_episodes(
    naughty: Path, pool: ProcessExecutor, name: str, status: str
) -> None:
    summary, _ = go(naughty, name, pool, 1, decision_timeout_s=0.5)
    assert statuses(summary) == [status]
    assert (naughty.parent / "fits").read_text() == "."


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ["HangsHard", "Stopped"])
def test_a_worker_that_hangs_or_is_stopped_is_replaced_and_costs_one_episode(
    naughty: Path, pool: ProcessExecutor, name: str
) -> None:
    summary, shown = go(naughty, name, pool, decision_timeout_s=1.0)
    assert (summary.ran, summary.failed) == (1, ())
    assert statuses(summary) == ["ok", "policy_timeout", "ok"]
    assert shown.count("worker lost") == 1


@pytest.mark.usefixtures("unchecked")
def test_a_worker_that_is_killed_from_outside_is_replaced(
    naughty: Path, pool: ProcessExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = pool.submit
    killed: list[int] = []

    def submit_and_kill(run: Any, job: Any) -> None:
        submit(run, job)
        if not killed:
            killed.append(pool._working[job.key][1].pid)
            os.kill(killed[-1], signal.SIGKILL)  # at once, since the job takes no time

    monkeypatch.setattr(pool, "submit", submit_and_kill)
    summary, shown = go(naughty, "Stays", pool, episodes=4)
    assert statuses(summary) == ["ok"] * 4 and shown.count("worker lost") == 1


@pytest.mark.usefixtures("unchecked")
def test_a_swallowed_time_out_is_one(naughty: Path, pool: ProcessExecutor) -> None:
    summary, _ = go(naughty, "Swallows", pool, episodes=2, decision_timeout_s=0.3)
    assert statuses(summary) == ["policy_timeout"] * 2


@pytest.mark.usefixtures("unchecked")
def test_an_episode_has_a_time_limit_too(naughty: Path, pool: ProcessExecutor) -> None:
    summary, _ = go(naughty, "Swallows", pool, episodes=1, episode_timeout_s=0.3)
    assert statuses(summary) == ["policy_timeout"]
    assert summary.run.episodes()["message"][0] == "the episode took over 0.3 s (episode_timeout_s)"


def test_errors_are_told_once_a_row_and_all_are_in_the_log(naughty: Path, pool: ProcessExecutor) -> None:
    evaluations = [{"split": split, "episodes": 7} for split in ("uniform", "recall")]
    summary, shown = go(naughty, "Raises", pool, evaluations=evaluations)
    assert statuses(summary) == 2 * (["policy_error"] * 5 + ["given_up"] * 2)
    assert shown.count("first error") == shown.count('raise ValueError("no idea")') == 1
    log = log_of(naughty, "Raises")
    assert str(log) in shown and log.read_text().count('raise ValueError("no idea")') == 5
    assert log.read_text().count("thinking 0") == 1 and "thinking" not in shown
    name, reason = summary.failed[0]
    assert name == "fake/Raises/n1" and len(summary.failed) == 1
    assert reason.startswith(
        "all 14 episodes ended by the policy's fault; the first: policy_error, ValueError: no idea"
    )
    assert "5 failures in a row (give_up_after)" in summary.run.episodes()["message"][6]


def test_one_good_episode_ends_a_series_of_failures(naughty: Path, pool: ProcessExecutor) -> None:
    summary, _ = go(naughty, "RaisesThenStays", pool, episodes=4, give_up_after=3)
    assert statuses(summary) == ["policy_error", "policy_error", "ok", "ok"] and summary.failed == ()
    summary, _ = go(naughty, "RaisesThenStays", pool, episodes=4, give_up_after=2)
    assert statuses(summary) == ["policy_error", "policy_error", "given_up", "given_up"]


def test_a_worker_loads_no_torch_for_a_policy_in_numpy(naughty: Path, pool: ProcessExecutor) -> None:
    """It takes as long to load as all the rest of a worker's start."""
    summary, _ = go(naughty, "TellsOfTorch", pool, episodes=1)
    assert summary.run.episodes()["message"][0] == "ValueError: torch is not loaded"


def test_an_interrupt_of_the_policys_own_is_its_error(naughty: Path, pool: ProcessExecutor) -> None:
    assert statuses(go(naughty, "Interrupts", pool, episodes=1)[0]) == ["policy_error"]


def test_a_policy_that_always_lacks_memory_has_crashed(naughty: Path, pool: ProcessExecutor) -> None:
    summary, _ = go(naughty, "Hungry", pool)
    assert statuses(summary) == ["ok", "policy_crash", "ok"]
    message = summary.run.episodes()["message"][1]
    assert message == "MemoryError: Unable to allocate 3 TiB, 3 times while it was asked"


def test_a_log_is_limited_and_nothing_reaches_the_terminal(
    naughty: Path, pool: ProcessExecutor, capfd: pytest.CaptureFixture[str]
) -> None:
    summary, _ = go(naughty, "Shouts", pool)
    assert statuses(summary) == ["ok"] * 3
    size = log_of(naughty, "Shouts").stat().st_size
    assert job_log.LOG_BYTES // 2 < size <= job_log.LOG_BYTES
    assert "left out" in log_of(naughty, "Shouts").read_text()
    assert capfd.readouterr().out == "" and not log_of(naughty, "Stays").exists()


def test_children_of_a_policy_end_with_its_job_and_so_does_the_worker(naughty: Path, pool: ProcessExecutor) -> None:
    summary, _ = go(naughty, "Forks", pool)
    assert statuses(summary) == ["ok"] * 3 and summary.failed == ()
    assert pool._idle == []
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [one for one in commands if b"sleep\x00611" in one or b"sleep\x00612" in one]


def test_a_policy_with_too_many_threads_is_stopped(
    naughty: Path, pool: ProcessExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "MOST_THREADS", 50)
    monkeypatch.setattr(scheduler, "POLL_S", 0.1)
    summary, _ = go(naughty, "Spins", pool, episodes=2, give_up_after=1)
    assert statuses(summary) == ["policy_crash", "given_up"]
    assert "threads, more than 50" in summary.run.episodes()["message"][0]


def test_without_workers_a_policys_error_is_raised(naughty: Path) -> None:
    with pytest.raises(ValueError, match="no idea") as raised:
        go(naughty, "Raises", InlineExecutor(raises=True))
    assert raised.traceback[-1].path == naughty


def test_the_family_of_a_process_is_found_and_ended() -> None:
    child = os.spawnlp(os.P_NOWAIT, "setsid", "setsid", "sh", "-c", "sleep 613 & sleep 613")
    deadline = time.monotonic() + 10
    while len(processes.family(child)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert processes.threads_of(child) >= 2
    assert processes.end_family(child) >= 2
    os.waitpid(child, 0)
    assert processes.family(child) == []
