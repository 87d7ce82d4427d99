"""Heartbeats: small files in which workers report how far a job is.

The scheduler reads them to show progress, and to notice a worker that hangs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from altbench.core.types import Progress
from altbench.results.folder import RunFolder
from altbench.system.files import replacing, write_text

NOT_BEGUN = -1
"""The value of `done` before a job's first unit of work, when no episode can be at
fault.
"""


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
    second.
    """

    def __init__(self, folder: RunFolder, key: str) -> None:
        self.path = _path(folder, key)
        self._last, self._done, self._number = 0.0, NOT_BEGUN, 0
        self(NOT_BEGUN, 0, {})

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


def forget_beat(folder: RunFolder, key: str) -> None:
    """Delete what an earlier worker reported, so that it is not read as the next one's."""
    _path(folder, key).unlink(missing_ok=True)


def _path(folder: RunFolder, key: str) -> Path:
    return folder.progress / f"{key}.json"


class TrainingClock:
    """A `Progress` that adds up the seconds of a fit over all its resumed pieces, and
    passes reports on.

    `data_share`: the fraction of the training loop's time that was spent waiting for
    data, in this process (for a resumed fit, its last piece). None if the policy does
    not report a metric of that name.
    """

    def __init__(self, path: Path, progress: Progress) -> None:
        self.path, self.progress = path, progress
        self.data_share: float | None = None
        self.earlier = float(path.read_text()) if path.exists() else 0.0
        self.began = time.perf_counter()

    def seconds(self) -> float:
        """Return the seconds of fitting so far."""
        return self.earlier + time.perf_counter() - self.began

    def __call__(self, done: int, total: int, metrics: Mapping[str, float]) -> None:
        write_text(self.path, f"{self.seconds():.3f}")
        self.data_share = metrics.get("data_share", self.data_share)
        self.progress(done, total, metrics)
