"""A run's folder on disk: where its parts are, which process holds it, and what a
killed run left behind.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from altbench.core.errors import AltbenchError
from altbench.system.files import LEFTOVER, make_folder

OWN_FOLDERS = ("cells", "checkpoints", "demonstrations", "figures", "measures", "sweeps", "tables", "videos")
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

    def demonstrations(self, task: str) -> Path:
        """Return the file of demonstrations that the run collects for `task`."""
        return self.root / "demonstrations" / f"{task}.hdf5"

    @contextmanager
    def locked(self, otherwise: str = "choose another --out") -> Iterator[None]:
        """Hold the folder for this process; AltbenchError if another one holds it.

        `otherwise`: what the user can do besides waiting, for the message.
        """
        make_folder(self.root)
        with (self.root / ".lock").open("a+", encoding="utf-8") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                handle.seek(0)
                holder = handle.read().strip() or "another process"
                raise AltbenchError(f"{self.root}: in use by {holder}; wait for it, or {otherwise}") from None
            command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
            _write_over(handle, f"process {os.getpid()} ({command})\n")
            try:
                yield
            finally:
                _write_over(handle, "")


def _write_over(handle: TextIO, text: str) -> None:
    handle.truncate(0)
    handle.write(text)
    handle.flush()


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
