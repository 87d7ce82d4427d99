"""SLURM: an array of jobs; each job is one worker of the run (`altbench worker`).

submitit writes the script, submits it, and queues a task again that is preempted or
reaches its time limit. All else is in the run's folder.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from altbench.core.errors import AltbenchError, ConfigError
from altbench.engines.claims import count_done
from altbench.engines.offer import Offer, make_offer
from altbench.engines.room import check_room
from altbench.engines.settings import SlurmSettings
from altbench.engines.start import run_worker
from altbench.engines.together import Terms, wait_until_drawn
from altbench.results.run import Run
from altbench.runner.main import Summary
from altbench.runner.progress import Board
from altbench.sweeps.spec import SweepSpec
from altbench.system import lease, sealed
from altbench.system.console import make_console, say

ASK_S = 5.0
"""Seconds between two questions to SLURM's queue."""
GRACE_S = 60.0
"""Seconds for which no job of the array may be in the queue before the head gives up."""
REASON_S = 10.0
"""Seconds in which SLURM says why jobs wait."""
NEVER = {
    "AccountNotAllowed",
    "BadConstraints",
    "InvalidAccount",
    "InvalidQOS",
    "MaxMemPerLimit",
    "PartitionConfig",
    "PartitionNodeLimit",
    "PartitionTimeLimit",
    "QOSNotAllowed",
}
"""Reasons for which a job waits for ever."""
NOT_YET = {"", "Priority"}
"""What is said before SLURM has looked at a job."""
_LONG_S = 1e9
WARNED_S = 90
"""Seconds before its time limit at which a task is told, and is queued again."""


@dataclass(frozen=True)
class WorkerTask:
    """What a task of the array does; submitit keeps it, and asks it to go on elsewhere."""

    root: str
    id: str
    workers: int
    mixed: bool

    def __call__(self, shard: str) -> dict[str, str]:
        console = make_console()
        return run_worker(self.root, shard, self.workers, console, mixed=self.mixed, expected=self.id)

    def checkpoint(self, shard: str) -> Any:
        """Return what the task does once it is queued again: the same."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, shard)


def _executor(settings: SlurmSettings, folder: Path, name: str) -> Any:
    """Return submitit's executor; AltbenchError without submitit or SLURM."""
    try:
        from submitit.slurm.slurm import SlurmExecutor
    except ImportError as error:
        raise AltbenchError(f"--executor slurm: submitit is missing ({error}); pip install 'altbench[slurm]'") from None
    if missing := [name for name in ("sbatch", "srun", "squeue") if shutil.which(name) is None]:
        raise AltbenchError(f"--executor slurm: expected SLURM on this machine, {', '.join(missing)} is missing")
    made = SlurmExecutor(folder=folder, max_num_timeout=settings.requeues)
    made.update_parameters(**_parameters(settings, name))
    return made


def _parameters(settings: SlurmSettings, name: str) -> dict[str, Any]:
    own: dict[str, Any] = {
        "job_name": f"altbench-{name}"[:64],
        "time": settings.minutes,
        "nodes": 1,
        "ntasks_per_node": 1,
        "cpus_per_task": settings.cpus,
        "mem": f"{int(settings.memory_gb * 1024)}M",
        "signal_delay_s": WARNED_S,
        "array_parallelism": settings.tasks,
        "additional_parameters": {"requeue": True, **_extra(settings.extra)},
        # A pool of processes, not threads of one: each decides for itself.
        "setup": ["export OMP_NUM_THREADS=1"],
    }
    if settings.gpus:
        own["gpus_per_node"] = settings.gpus
    named = {name: getattr(settings, name) for name in ("partition", "account", "qos")}
    return {**own, **{name: value for name, value in named.items() if value}}


def _extra(text: str) -> dict[str, str]:
    found = {}
    for part in filter(None, text.split(",")):
        name, colon, value = part.partition(":")
        if not (name and colon):
            raise ConfigError(f"--engine extra: expected name:value, such as constraint:epyc, got {part!r}")
        found[name] = value
    return found


def script(settings: SlurmSettings, sweep: SweepSpec, root: Path) -> str:
    """Return the script that sbatch would get."""
    made = _executor(settings, root.absolute() / ".shared" / "ID" / "slurm", sweep.name)
    if settings.tasks > 1:
        made.parameters["map_count"] = settings.tasks
    return str(made._make_submission_file_text(made._submitit_command_str, "ID"))


def run_on_slurm(settings: SlurmSettings, begun: Run, sweep: SweepSpec, console: Console, mixed: bool) -> Summary:
    """Offer the run to an array of SLURM jobs, and wait until they have finished it.

    If jobs of the same run are in the queue, wait for these. AltbenchError, before any
    work, without SLURM or room, and if SLURM rejects the jobs.
    """
    _executor(settings, begun.root / ".shared", sweep.name)
    offer = make_offer(begun.root, sweep, mixed)
    check_room(begun)
    with lease.held(offer.folder / "submit.lease", patience_s=_LONG_S):  # of two heads one submits
        array = _array(offer)
        if not array or not _ask_queue(array):
            array = _submit(settings, offer, mixed)
    say(console, f"SLURM job {array}; its logs are in {offer.folder / 'slurm'}", wrap=False)
    watch = _Queue(offer, array, console)
    try:
        return wait_until_drawn(offer, Board(console), begun.renderer, Terms(mixed=mixed), watch.ask)
    except KeyboardInterrupt:
        say(console, f"\nthe SLURM jobs go on; `scancel {array}` ends them, and the same command watches them again")
        raise


def _submit(settings: SlurmSettings, offer: Offer, mixed: bool) -> str:
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    made = _executor(settings, offer.folder / "slurm", offer.sweep.name)
    task = WorkerTask(str(offer.root), offer.id, settings.cpus, mixed)
    shards = [f"{part}/{settings.tasks}" for part in range(1, settings.tasks + 1)]
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # submitit prints what it raises, too
            jobs = made.map_array(task, shards)
    except (FailedJobError, FailedSubmissionError, subprocess.CalledProcessError, OSError) as error:
        told = [line.removeprefix("sbatch: error: ").strip() for line in str(error).splitlines()]
        raise AltbenchError(f"--executor slurm: SLURM rejects the jobs: {'; '.join(filter(None, told))}") from None
    array = str(jobs[0].job_id).partition("_")[0]
    _refuse_hopeless(array)
    sealed.write_json(offer.folder / "slurm.json", {"array": array})
    return array


def _refuse_hopeless(array: str) -> None:
    """Raise AltbenchError, and cancel the array, if SLURM took jobs that it can never start.

    Many controllers queue what no node has, in place of rejecting it.
    """
    deadline = time.monotonic() + REASON_S
    while time.monotonic() < deadline:
        states = _ask_queue(array)
        reasons = {state.partition(" ")[2] for state in states}
        if reasons - NEVER - NOT_YET or not all(state.startswith("PENDING") for state in states) or not states:
            return
        if reasons <= NEVER:
            subprocess.run(["scancel", array], capture_output=True, timeout=60, check=False)
            raise AltbenchError(
                f"--executor slurm: SLURM can never start the jobs ({', '.join(sorted(reasons))}), and they were cancelled; "
                "ask for what a node has: --engine cpus, memory_gb, gpus, minutes, partition, account or qos"
            )
        time.sleep(1.0)


def _array(offer: Offer) -> str:
    path = offer.folder / "slurm.json"
    return str(sealed.read_json(path, ("array",), "run again")["array"]) if path.is_file() else ""


def _in_queue(array: str) -> dict[str, int]:
    """Return state, with the reason of waiting -> number of the array's tasks that are in
    SLURM's queue.
    """
    command = ["squeue", "--noheader", "--array", "--format=%T %r", "--jobs", array]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=os.environ)
    if done.returncode and "Invalid job id" not in done.stderr:
        raise OSError(f"squeue: {done.stderr.strip()}")
    states = [line.strip().removesuffix(" None") for line in done.stdout.splitlines()]
    return {state: states.count(state) for state in dict.fromkeys(states) if state}


def _ask_queue(array: str) -> dict[str, int]:
    """Return `_in_queue`; AltbenchError if SLURM does not answer."""
    try:
        return _in_queue(array)
    except (OSError, subprocess.SubprocessError) as error:
        raise AltbenchError(f"--executor slurm: expected an answer from squeue, got: {error}; try again") from None


def _in_words(state: str) -> str:
    """Return a state as it is shown, such as `pending (Resources)`."""
    name, _, reason = state.partition(" ")
    return f"{name.lower()} ({reason})" if reason else name.lower()


class _Queue:
    """What the head asks SLURM while it waits."""

    def __init__(self, offer: Offer, array: str, console: Console) -> None:
        self._offer, self._array, self._console = offer, array, console
        self._asked = self._seen = time.monotonic()
        self._told = ""

    def ask(self) -> None:
        """Show how far the run is; AltbenchError if no job of it is left in the queue."""
        now = time.monotonic()
        if now - self._asked < ASK_S:
            return
        self._asked = now
        try:
            states = _in_queue(self._array)
        except (OSError, subprocess.SubprocessError):
            return  # a busy controller answers the next time
        prepared = self._offer.prepared()
        total, done = prepared["blocks"] if prepared else "?", count_done(self._offer.folder / "claims")
        self._tell(
            f"{done}/{total} done; jobs: {', '.join(f'{n} {_in_words(s)}' for s, n in states.items()) or 'none'}"
        )
        if states:
            self._seen = now
        elif now - self._seen > GRACE_S and not self._offer.is_drawn:
            raise AltbenchError(
                f"{self._offer.root}: the SLURM job {self._array} ended with {done} of {total} done; see "
                f"{self._offer.folder / 'slurm'}; the same command goes on"
            )

    def _tell(self, line: str) -> None:
        if line != self._told:
            self._told = line
            say(self._console, line, wrap=False)
