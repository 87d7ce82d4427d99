"""A run's folder on disk: where its parts are, which process holds it, and what a
killed run left behind.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from altbench.core.errors import AltbenchError
from altbench.system import lease, sealed
from altbench.system.files import LEFTOVER, file_name, make_folder
from altbench.system.lease import LeaseHeld

MACHINES = "machines.json"
"""The file in a run's folder that says which differing machines made it together."""
SHARED = ".shared"
"""The folder of a run that many workers finish together: who works, on what."""
OWN_FOLDERS = (
    "cells",
    "checked",
    "checkpoints",
    "demonstrations",
    "figures",
    "logs",
    "measures",
    "sweeps",
    "tables",
    "videos",
)
"""The folders of a run's folder that the bench alone writes to."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run, which holds everything of it.

    results/README.md describes its parts.
    """

    root: Path

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints, one folder each."""
        return self.root / "checkpoints"

    @property
    def progress(self) -> Path:
        """The heartbeats of running jobs, which mean nothing once the run has ended."""
        return self.root / ".progress"

    def log(self, job: str) -> Path:
        """Return the log of the job called `job`: what it printed, and its errors."""
        return self.root / "logs" / f"{file_name(job)}.log"

    def demonstrations(self, task: str) -> Path:
        """Return the file of demonstrations that the run collects for `task`."""
        return self.root / "demonstrations" / f"{task}.hdf5"

    @property
    def shared(self) -> Path:
        """What workers that finish the run together tell each other."""
        return self.root / SHARED

    def mixed(self) -> str:
        """Return the differing machines that made the run together; empty without."""
        if not (self.root / MACHINES).is_file():
            return ""
        found = sealed.read_json(self.root / MACHINES, ("machines",), "run the sweep again in another --out")
        return "; ".join(map(str, found["machines"]))

    def mark_mixed(self, machines: Sequence[str]) -> None:
        """Note that differing `machines` make the run together, besides those noted before."""
        before = self.mixed().split("; ") if (self.root / MACHINES).is_file() else []
        named = sorted({*before, *machines})
        if named != before:
            sealed.write_json(self.root / MACHINES, {"machines": named})

    def workers(self) -> list[Path]:
        """Return the leases of workers that finish the run together."""
        return sorted(self.shared.glob("*/workers/*.lease"))

    @contextmanager
    def locked(self, otherwise: str = "choose another --out") -> Iterator[None]:
        """Hold the folder for this process.

        AltbenchError if another process holds it, or if the file system refuses;
        the message says which. `otherwise`: what the user can do besides waiting.
        """
        make_folder(self.root)
        try:
            with lease.held(self._lock):
                self._check_no_workers(otherwise)
                yield
        except LeaseHeld as error:
            if error.path != self._lock:  # of something inside the block
                raise
            raise AltbenchError(f"{self.root}: in use by {error.holder}; wait for it, or {otherwise}") from None

    def _check_no_workers(self, otherwise: str) -> None:
        """Raise AltbenchError if workers finish this run together."""
        for path in self.workers():
            if holder := lease.holder_at_work(path):
                raise AltbenchError(
                    f"{self.root}: in use by the worker {holder}; join it with `altbench worker {self.root}`, "
                    f"wait for it, or {otherwise}"
                )

    def check_free(self) -> None:
        """Raise AltbenchError if a process holds the folder for itself alone."""
        if holder := lease.holder_at_work(self._lock):
            raise AltbenchError(f"{self.root}: in use by {holder}; wait for it, or choose another --out")

    def check_held(self) -> None:
        """Raise AltbenchError if this process held the folder and has lost it."""
        lease.check(self._lock)

    @property
    def _lock(self) -> Path:
        return self.root / ".lock"


def remove_leftovers(root: Path) -> None:
    """Delete what a killed run left half-written in its own folders under `root`, and
    no other files.
    """
    own = [root, *(root / name for name in OWN_FOLDERS), *(root / "cells").glob("[0-9a-f][0-9a-f]")]
    for path in (p for folder in own if folder.is_dir() for p in folder.iterdir()):
        if LEFTOVER.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        elif path.suffix == ".training" and path.with_suffix("").is_dir():
            shutil.rmtree(path, ignore_errors=True)  # its checkpoint is complete
