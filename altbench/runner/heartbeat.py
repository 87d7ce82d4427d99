"""Heartbeats: small files in which workers report how far a job is.

The scheduler reads them to show progress, to notice a worker that hangs, and to know
what a worker was doing when it died.
"""

from __future__ import annotations

import json
import mmap
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from altbench.core.types import Progress
from altbench.results.folder import RunFolder
from altbench.rollout.watch import ASKED, Phase
from altbench.system.files import replacing, write_text

NOT_BEGUN = -1
"""The value of `done` before a job's first unit of work, when no episode can be at
fault.
"""


PULSE = ".pulse"
"""The ending of a file with a pulse."""
_PHASES: tuple[Phase, ...] = get_args(Phase)
_LAYOUT = struct.Struct("<qQB")
"""How a pulse lies in its file: episode, number, phase."""


@dataclass(frozen=True)
class Pulse:
    """Where a worker is: the episode, its phase, and a `number` that grows with each."""

    episode: int = NOT_BEGUN
    number: int = 0
    phase: Phase = "loading"

    @property
    def asks(self) -> bool:
        """True while the policy is asked, so that what happens is its doing."""
        return self.phase in ASKED


@dataclass(frozen=True)
class Beat:
    """One report: `done` of `total` units, the latest `metrics`, and a `number` that
    grows with each.
    """

    done: int = NOT_BEGUN
    total: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    number: int = 0


class Heartbeat:
    """A `Progress` that writes beats: whenever `done` changes, otherwise at most four a
    second. Every phase of an episode is a pulse, in memory that outlives the process.
    """

    def __init__(self, folder: RunFolder, key: str) -> None:
        self.path = _path(folder, key)
        self._last, self._done, self._number = 0.0, NOT_BEGUN, 0
        self._pulses, self._memory = 0, _shared(self.path.with_suffix(PULSE))
        self(NOT_BEGUN, 0, {})
        self.pulse(NOT_BEGUN, "loading")

    def pulse(self, episode: int, phase: Phase) -> None:
        """Report that `episode` enters `phase`. It takes a microsecond."""
        self._pulses += 1
        report = _LAYOUT.pack(episode, self._pulses, _PHASES.index(phase))
        if self._memory is None:
            self.path.with_suffix(PULSE).write_bytes(report)
        else:
            self._memory[: len(report)] = report

    def __call__(self, done: int, total: int, metrics: Mapping[str, float]) -> None:
        now = time.monotonic()
        if done == self._done and now - self._last < 0.25:
            return
        self._last, self._done, self._number = now, done, self._number + 1
        report = {"done": done, "total": total, "metrics": dict(metrics), "number": self._number}
        with replacing(self.path, durable=False) as temporary:
            temporary.write_text(json.dumps(report))


def read_beat(folder: RunFolder, key: str) -> Beat:
    """Return the job's latest report; before its first one, an empty report."""
    try:
        return Beat(**json.loads(_path(folder, key).read_text()))
    except (OSError, ValueError, TypeError):
        return Beat()


def read_pulse(folder: RunFolder, key: str) -> Pulse:
    """Return where the job's worker is, or was when it died; before that, an empty pulse."""
    try:
        episode, number, phase = _LAYOUT.unpack_from(_path(folder, key).with_suffix(PULSE).read_bytes())
        return Pulse(episode, number, _PHASES[phase])
    except (OSError, struct.error, IndexError):
        return Pulse()


def _shared(path: Path) -> mmap.mmap | None:
    """Return memory that is the file `path`; None if the file system has no such thing.

    Unlike a file that is open, a policy cannot close it by mistake.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(_LAYOUT.size))
    with suppress(OSError, ValueError), path.open("r+b") as file:
        return mmap.mmap(file.fileno(), _LAYOUT.size)
    return None


def forget_beat(folder: RunFolder, key: str) -> None:
    """Delete what an earlier worker reported, so that it is not read as the next one's."""
    for path in (_path(folder, key), _path(folder, key).with_suffix(PULSE)):
        path.unlink(missing_ok=True)


def _path(folder: RunFolder, key: str) -> Path:
    return folder.progress / f"{key}.json"


class TrainingClock:
    """A `Progress` that adds up the seconds of a fit over all its resumed pieces, and
    passes reports on.

    `data_share`: the fraction of the training loop's time that was spent waiting for
    data, in this process (for a resumed fit, its last piece). None if the policy does
    not report a metric of that name. `steps` of `total`: how far the fit came, as it
    reported last; fewer than `total` if it ended at a plateau.
    """

    def __init__(self, path: Path, progress: Progress) -> None:
        self.path, self.progress = path, progress
        self.data_share: float | None = None
        self.steps, self.total = 0, 0
        self.earlier = float(path.read_text()) if path.exists() else 0.0
        self.began = time.perf_counter()

    def seconds(self) -> float:
        """Return the seconds of fitting so far."""
        return self.earlier + time.perf_counter() - self.began

    def __call__(self, done: int, total: int, metrics: Mapping[str, float]) -> None:
        write_text(self.path, f"{self.seconds():.3f}")
        self.data_share = metrics.get("data_share", self.data_share)
        self.steps, self.total = done, total
        self.progress(done, total, metrics)
