"""Real workers that are killed with SIGKILL, and real heads: the run ends all the same, with the same tables."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from altbench.cli.app import app
from altbench.core.errors import AltbenchError
from altbench.engines import ray_engine, room, slurm_engine
from altbench.engines.settings import SlurmSettings
from altbench.results.cells import cell_files
from altbench.results.run import Run
from altbench.sweeps.spec import load_sweep

LIMIT_S = 1500.0
"""Seconds for what takes one on an idle machine; a busy one needs minutes to start a process."""

SLURM = '''#!{python}
"""A SLURM of this machine alone: sbatch, srun, squeue and scancel that start, list and kill processes."""

import os
import pathlib
import re
import signal
import subprocess
import sys

HERE = pathlib.Path({folder!r})
name, arguments = pathlib.Path(sys.argv[0]).name, sys.argv[1:]


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{{pid}}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


if name == "sbatch":
    if (HERE / "full").exists():
        sys.exit("sbatch: error: Batch job submission failed: Requested node configuration is not available")
    if (HERE / "hopeless").exists():
        print("Submitted batch job 71")
        sys.exit()
    script = pathlib.Path(arguments[-1])
    tasks = re.search(r"--array=0-(\\d+)", script.read_text())
    for task in range(int(tasks[1]) + 1):
        own = {{**os.environ, "SLURM_JOB_ID": str(71 + task), "SLURM_ARRAY_JOB_ID": "71", "SLURM_ARRAY_TASK_ID": str(task)}}
        own |= {{"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_JOB_NODELIST": "n1"}}
        nowhere = {{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}}
        made = subprocess.Popen(["bash", str(script)], env=own, start_new_session=True, **nowhere)
        with (HERE / "pids").open("a") as file:
            file.write(f"{{made.pid}}\\n")
    print("Submitted batch job 71")
elif name == "srun":
    task = os.environ["SLURM_ARRAY_TASK_ID"]
    names = [arguments[at].replace("%A", "71").replace("%a", task).replace("%t", "0") for at in (2, 4)]
    files = [open(one, "a") for one in names]
    os.dup2(files[0].fileno(), 1)
    os.dup2(files[1].fileno(), 2)
    os.execvp(arguments[5], arguments[5:])
elif (HERE / "hopeless").exists():
    (HERE / "cancelled").touch() if name == "scancel" else print((HERE / "hopeless").read_text())
else:
    pids = (HERE / "pids").read_text().split() if (HERE / "pids").exists() else []
    for pid in filter(alive, pids):
        os.killpg(int(pid), signal.SIGKILL) if name == "scancel" else print("RUNNING")
'''


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_killed_worker_and_a_killed_head_cost_nothing_and_two_heads_share_a_folder(place: Any, waiting: Any) -> None:
    place.sweep(pause_s=0.5, seeds=4, policy="Learns")
    assert place.call("run", "fake.toml", "--out", "plain", "--workers", "0")[0] == 0
    cells = place.folder / "run"
    common = ("run", "fake.toml", "--out", "run", "--executor", "worker", "--workers", "1")
    head = place.start(*common)
    waiting(lambda: len(cell_files(cells)) >= 1, LIMIT_S)
    worker = place.start("worker", "run", "--workers", "1", "--shard", "2/2")
    waiting(lambda: len(list(cells.glob(".shared/*/workers/*.lease"))) == 2, LIMIT_S)
    os.kill(head.pid, signal.SIGKILL)
    second = place.start(*common)
    waiting(lambda: len(list(cells.glob(".shared/*/workers/*.lease"))) == 3, LIMIT_S)
    os.kill(worker.pid, signal.SIGKILL)
    said = second.communicate(timeout=LIMIT_S)[0]
    assert second.returncode == 0, said
    assert place.tables("run") == place.tables("plain")
    assert place.outcomes("run") == place.outcomes("plain")
    assert place.call("worker", "run") == (0, f"nothing is left of 'fake' in {cells}\nnothing is left to do in run\n")


@pytest.fixture
def slurm(place: Any) -> Path:
    """A folder with a SLURM of processes, first on PATH."""
    pytest.importorskip("submitit", reason="submitit is missing; pip install 'altbench[slurm]'")
    tools = place.folder / "tools"
    tools.mkdir()
    for name in ("sbatch", "srun", "squeue", "scancel"):
        (tools / name).write_text(SLURM.format(python=sys.executable, folder=str(tools)))
        (tools / name).chmod(0o755)
    place.environment = {**place.environment, "PATH": f"{tools}{os.pathsep}{place.environment['PATH']}"}
    return tools


SMALL = ("--executor", "slurm", "--engine", "tasks=2", "--engine", "cpus=1", "--engine", "minutes=30")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_slurm_finishes_a_run_though_one_of_its_jobs_is_killed(place: Any, slurm: Path, waiting: Any) -> None:
    place.sweep(pause_s=0.5)
    assert place.call("run", "fake.toml", "--out", "plain", "--workers", "0")[0] == 0
    head = place.start("run", "fake.toml", "--out", "run", *SMALL)
    waiting(lambda: len(cell_files(place.folder / "run")) >= 1, LIMIT_S)
    os.killpg(int((slurm / "pids").read_text().split()[0]), signal.SIGKILL)
    said = head.communicate(timeout=LIMIT_S)[0]
    assert head.returncode == 0, said
    assert "SLURM job 71" in said and place.tables("run") == place.tables("plain")
    assert place.outcomes("run") == place.outcomes("plain")


@pytest.fixture
def here(place: Any, slurm: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the SLURM of processes, for commands in this process."""
    place.sweep()
    monkeypatch.chdir(place.folder)
    monkeypatch.setenv("PATH", place.environment["PATH"])
    return slurm


def test_a_dry_run_prints_the_script_and_submits_nothing(place: Any, here: Path) -> None:
    more = ("--engine", "extra=constraint:epyc", "--engine", "gpus=2")
    done = CliRunner().invoke(
        app,
        ["run", "fake.toml", "--out", "run", *SMALL, *more, "--dry-run"],
    )
    said = done.output
    assert done.exit_code == 0, done.exception
    for line in (
        "--array=0-1%2",
        "--cpus-per-task=1",
        "--requeue",
        "--time=30",
        "--signal=USR2@90",
        "--constraint=epyc",
        "--gpus-per-node=2",
    ):
        assert f"#SBATCH {line}\n" in said
    assert not (here / "pids").exists() and not (place.folder / "run").exists()


def test_jobs_that_slurm_rejects_are_told_in_one_line(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "full").touch()
    done = CliRunner().invoke(app, ["run", "fake.toml", "--out", "run", *SMALL])
    assert "SLURM rejects the jobs: Batch job submission failed: Requested" in str(done.exception), done.output
    assert "sbatch" not in done.output + capfd.readouterr().err


def test_jobs_that_slurm_takes_and_can_never_start_are_cancelled_and_told(here: Path) -> None:
    (here / "hopeless").write_text("PENDING PartitionConfig\nPENDING PartitionConfig\n")
    done = CliRunner().invoke(app, ["run", "fake.toml", "--out", "run", *SMALL])
    assert "SLURM can never start the jobs (PartitionConfig), and they were cancelled" in str(done.exception)
    assert (here / "cancelled").exists()


def test_jobs_that_wait_for_their_turn_are_let_be(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_engine, "REASON_S", 0.2)
    for said in ("PENDING Resources\nPENDING Priority", "PENDING None", "RUNNING None", ""):
        (here / "hopeless").write_text(said)
        slurm_engine._refuse_hopeless("71")
    assert not (here / "cancelled").exists()
    assert slurm_engine._in_words("PENDING Resources") == "pending (Resources)"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--executor", "rya"), "unknown executor 'rya'; did you mean 'ray'?"),
        (("--executor", "ray", "--engine", "gpu=1"), "--engine for ray: unknown key 'gpu'; did you mean 'gpus'?"),
        (("--executor", "ray", "--engine", "gpus"), "--engine: expected NAME=VALUE, such as cpus=8, got 'gpus'"),
        (("--executor", "slurm", "--engine", "cpus=0"), "--engine for slurm: cpus"),
        (("--executor", "slurm", "--workers", "2"), "--workers: the executor slurm has none"),
        (("--engine", "cpus=8"), "--engine for local: unknown key 'cpus'"),
        (("--allow-mixed",), "--allow-mixed: the executor local is one machine"),
    ],
)
def test_wrong_options_are_refused_in_one_line(options: tuple[str, ...], told: str) -> None:
    found = CliRunner().invoke(app, ["run", "smoke", *options])
    assert told in str(found.exception), found.output


@pytest.mark.parametrize(("engine", "missing"), [("ray", "Ray is missing"), ("slurm", "submitit is missing")])
def test_without_the_extra_an_engine_is_refused_in_one_line(
    engine: str, missing: str, place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ray", "submitit", "submitit.slurm", "submitit.slurm.slurm"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(AltbenchError, match=rf"{missing}.*pip install 'altbench\[{engine}\]'"):
        ray_engine._ray() if engine == "ray" else slurm_engine._executor(SlurmSettings(), place.folder, "fake")


def test_without_slurm_the_missing_commands_are_named(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit", reason="submitit is missing; pip install 'altbench[slurm]'")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(AltbenchError, match="expected SLURM on this machine, sbatch, srun, squeue is missing"):
        slurm_engine._executor(SlurmSettings(), place.folder, "fake")


def test_a_folder_without_room_is_refused_before_any_work(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.folder)
    run = Run.begin(place.folder / "run", load_sweep(str(place.sweep())), "none")
    room.check_room(run)
    monkeypatch.setattr(room.shutil, "disk_usage", lambda path: SimpleNamespace(free=1))
    with pytest.raises(AltbenchError, match=r"the rest of the run takes about .* are free; make room"):
        room.check_room(run)
