"""What an engine calls on its machines: look at the machine, and do one job whole.

A job runs in a process of its own, which this one watches by the same rules as a local
run. So a policy that dies or hangs costs an episode, and never an engine's worker.
"""

from __future__ import annotations

import atexit
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from altbench.engines import parcels
from altbench.engines.machine import Machine
from altbench.engines.parcels import Parcel
from altbench.results.run import Run
from altbench.runner.executors import ProcessExecutor
from altbench.runner.jobs import Job
from altbench.runner.progress import Board
from altbench.runner.scheduler import Scheduler
from altbench.system.console import make_console

_GPUS = "CUDA_VISIBLE_DEVICES"
_own: dict[str, ProcessExecutor] = {}
"""The worker of this process, by the GPUs that it sees; there is at most one."""


def examine(device: str, probe: str, content: str) -> dict[str, object]:
    """Return this machine's class, and whether the file `probe` has `content` here."""
    path = Path(probe)
    sees = path.is_file() and path.read_text(encoding="utf-8") == content
    return {"machine": Machine.here(device).as_dict(), "sees": sees}


def do(run: Run, job: Job) -> str:
    """Do `job`, whose run's folder is here; return what went wrong, or an empty text."""
    board = Board(make_console(quiet=True))
    return Scheduler(run, _executor(), board).finish([job]).failed.get(job.name, "")


def do_by_value(run: Run, job: Job, *inputs: Parcel) -> tuple[str, dict[str, bytes]]:
    """Do `job` in a folder of this process with `inputs`; return what went wrong, and
    the files that it made.
    """
    root = _scratch()
    for parcel in inputs:
        parcels.lay_out(root, parcel)
    before = parcels.seen(root)
    data = {task: root / "demonstrations" / f"{task}.hdf5" for task in run.data}
    error = do(replace(run, root=root, data=data), job)
    return error, parcels.made(root, before)


def _executor() -> ProcessExecutor:
    gpus = os.environ.get(_GPUS, "")
    if gpus not in _own:
        close()
        _own[gpus] = ProcessExecutor(1)
    return _own[gpus]


@atexit.register
def close() -> None:
    """End the worker of this process."""
    for one in _own.values():
        one.close()
    _own.clear()


_folders: list[tempfile.TemporaryDirectory[str]] = []


def _scratch() -> Path:
    """Return the folder in which this process does jobs by value; it ends with it."""
    if not _folders:
        _folders.append(tempfile.TemporaryDirectory(prefix="altbench-", ignore_cleanup_errors=True))
    return Path(_folders[0].name)
