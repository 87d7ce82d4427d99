"""What a run shows while it works: cells done, the jobs in flight, time left. Plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from altbench.runner.heartbeat import Beat
from altbench.runner.jobs import CollectJob, FitJob, Job, MeasureJob, RolloutJob

PACE_KNOWN = 0.05
"""Share of a job that must be done before its own pace is believed."""
FIRST_GUESS_S = {"collect": 90.0, "fit": 150.0, "episode": 1.5, "measure": 15.0}


class Costs:
    """Guesses how long jobs take, from those of their kind that have ended."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._units: dict[str, int] = {}

    def learn(self, job: Job, seconds: float) -> None:
        """Remember that `job` took `seconds`."""
        kind, units = _size(job)
        self._seconds[kind] = self._seconds.get(kind, 0.0) + seconds
        self._units[kind] = self._units.get(kind, 0) + units

    def guess(self, job: Job) -> float:
        """Expected seconds of `job`."""
        kind, units = _size(job)
        if kind in self._units:
            return units * self._seconds[kind] / self._units[kind]
        return units * FIRST_GUESS_S[kind]


class Board:
    """Shows a run's progress on `console`."""

    def __init__(self, console: Console, threads: int = 1) -> None:
        self.console, self.threads = console, max(threads, 1)
        self.costs = Costs()
        self._progress: Progress | None = None
        self._began: dict[str, float] = {}
        self._lines: dict[str, TaskID] = {}
        self._left: dict[str, tuple[Job, float]] = {}  # key -> (job, share of it that is left)
        self._first: dict[str, tuple[float, float]] = {}  # key -> when it first reported, and the share done by then
        self._total = self._done = 0

    def begin(self, jobs: Sequence[Job]) -> None:
        """Show `jobs` as the work ahead."""
        self._left = {job.key: (job, 1.0) for job in jobs}
        self._total, self._done = len(jobs), 0
        if jobs and self.console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[detail]}"),
                TimeElapsedColumn(),
                console=self.console,
            )
            self._lines = {"": self._progress.add_task("[bold]all jobs", total=self._total, detail="")}
            self._progress.start()

    def end(self) -> None:
        """Take the display down; also after an interruption."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def started(self, job: Job) -> None:
        """`job` has been handed to a worker."""
        self._began[job.key] = time.monotonic()
        if self._progress is not None:
            self._lines[job.key] = self._progress.add_task(job.name, total=None, detail="")

    def progressed(self, job: Job, beat: Beat) -> None:
        """`job` reported `beat`."""
        done = max(beat.done, 0)
        if beat.total:
            share = done / beat.total
            self._left[job.key] = (job, 1.0 - share)
            self._first.setdefault(job.key, (time.monotonic(), share))
        if self._progress is not None and job.key in self._lines:
            metrics = "  ".join(f"{k} {v:.4g}" for k, v in beat.metrics.items())
            self._progress.update(self._lines[job.key], completed=done, total=beat.total or None, detail=metrics)
            self._progress.update(self._lines[""], completed=self._done, detail=f"{self.time_left()} left")

    def finished(self, job: Job) -> None:
        """`job` ended well."""
        seconds = time.monotonic() - self._began[job.key]
        self.costs.learn(job, seconds)
        self._close(job)
        if not self.console.is_terminal:
            self.console.print(
                f"{self._done}/{self._total}  {job.name}  {seconds:.0f} s  ({self.time_left()} left)", highlight=False
            )

    def failed(self, job: Job, reason: str) -> None:
        """`job` ended badly, for good."""
        self._close(job)
        self.console.print(f"[red]failed[/] {job.name}: {reason}", highlight=False)

    def retried(self, job: Job) -> None:
        """`job` lost its worker and waits again."""
        self._drop_line(job)
        self.console.print(f"[yellow]worker lost[/], trying again: {job.name}", highlight=False)

    def time_left(self) -> str:
        """Expected time to the end, as `4 min`: no shorter than the longest job in flight."""
        each = [self._seconds_left(job, share) for job, share in self._left.values()]
        seconds = max(sum(each) / self.threads, *each, 0.0) if each else 0.0
        return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"

    def _seconds_left(self, job: Job, share: float) -> float:
        """From the job's own pace once it has one, else from jobs of its kind."""
        began, share_then = self._first.get(job.key, (0.0, 1.0))
        done_since = 1.0 - share - share_then
        if done_since > PACE_KNOWN:
            return (time.monotonic() - began) * share / done_since
        return self.costs.guess(job) * share

    def _close(self, job: Job) -> None:
        self._done += 1
        self._left.pop(job.key, None)
        self._drop_line(job)

    def _drop_line(self, job: Job) -> None:
        line = self._lines.pop(job.key, None)
        if self._progress is not None and line is not None:
            self._progress.remove_task(line)
            self._progress.update(self._lines[""], completed=self._done)


def _size(job: Job) -> tuple[str, int]:
    match job:
        case RolloutJob(cell=cell):
            return "episode", cell.episodes
        case FitJob():
            return "fit", 1
        case MeasureJob():
            return "measure", 1
        case CollectJob():
            return "collect", 1
