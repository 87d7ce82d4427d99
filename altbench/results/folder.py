"""A run's folder on disk: where its parts are, which process holds it, and what a
killed run left behind.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from altbench.core.errors import AltbenchError
from altbench.system import lease
from altbench.system.files import LEFTOVER, file_name, make_folder
from altbench.system.lease import LeaseHeld

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

    @contextmanager
    def locked(self, otherwise: str = "choose another --out") -> Iterator[None]:
        """Hold the folder for this process.

        AltbenchError if another process holds it, or if the file system refuses;
        the message says which. `otherwise`: what the user can do besides waiting.
        """
        make_folder(self.root)
        try:
            with lease.held(self._lock):
                yield
        except LeaseHeld as error:
            if error.path != self._lock:  # of something inside the block
                raise
            raise AltbenchError(f"{self.root}: in use by {error.holder}; wait for it, or {otherwise}") from None

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
    own = [root, *(root / name for name in OWN_FOLDERS)]
    for path in (p for folder in own if folder.is_dir() for p in folder.iterdir()):
        if LEFTOVER.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        elif path.suffix == ".training" and path.with_suffix("").is_dir():
            shutil.rmtree(path, ignore_errors=True)  # its checkpoint is complete
