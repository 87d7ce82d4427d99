"""The display of a working run: jobs done, jobs running, time left. Plain lines if
there is no terminal.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TaskID

from altbench.runner.heartbeat import Beat
from altbench.runner.jobs import Job
from altbench.system.console import job_bars, one_line, say

PACE_KNOWN = 0.05
"""Share of a job that must be done before the board trusts the job's own pace: the
beginning is slower.
"""


Size = tuple[str, float]
"""The kind of a job, and the first guess of its seconds: what its expected time depends on."""


class Pace:
    """How many times their first guess jobs take, by those of their kind that have ended."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._guessed: dict[str, float] = defaultdict(float)

    def learn(self, size: Size, seconds: float) -> None:
        """Remember that a job of that size took `seconds`."""
        kind, guessed = size
        self._seconds[kind] += seconds
        self._guessed[kind] += guessed

    def expect(self, size: Size) -> float:
        """Return the expected seconds of a job of that size.

        As long as no job of its kind has ended, those of other kinds tell how fast the machine is.
        """
        kind, guessed = size
        known = [kind] if kind in self._guessed else list(self._guessed)
        expected = sum(self._guessed[one] for one in known)
        return guessed * sum(self._seconds[one] for one in known) / expected if expected else guessed


@dataclass
class _Ahead:
    """A job that has not ended: the share of it that is left, when it started, and its
    line on a terminal.

    `paced_from`: when it first reported, and the share that was left then.
    """

    job: Job
    size: Size
    left: float = 1.0
    began: float = 0.0
    line: TaskID | None = None
    paced_from: tuple[float, float] | None = None


class Board:
    """A display of a run's progress on `console`, for an executor of `threads` threads."""

    def __init__(self, console: Console, threads: int = 1) -> None:
        self.console, self.threads = console, max(threads, 1)
        self.pace = Pace()
        self._progress: Progress | None = None
        self._overall = TaskID(0)
        self._ahead: dict[str, _Ahead] = {}
        # A run of a million jobs has few kinds and sizes: only jobs that began are looked at one by one.
        self._begun: dict[str, _Ahead] = {}
        self._unbegun: Counter[Size] = Counter()
        self._total = self._done = 0

    def begin(self, jobs: Sequence[Job]) -> None:
        """Show `jobs` as the work ahead."""
        self._ahead, self._begun, self._unbegun, self._total, self._done = {}, {}, Counter(), 0, 0
        self.add(jobs)

    def add(self, jobs: Sequence[Job], guesses: Mapping[str, float] | None = None) -> None:
        """Show `jobs` as more work ahead. `guesses`: the seconds they may take, by key; default, what is
        usual for their kind.
        """
        known = guesses or {}
        sizes = [(job.kind, known.get(job.key, job.units * job.first_guess_s)) for job in jobs]
        self._ahead.update({job.key: _Ahead(job, size) for job, size in zip(jobs, sizes, strict=True)})
        self._unbegun.update(sizes)
        self._total += len(jobs)
        if not jobs or not self.console.is_terminal:
            return
        if self._progress is None:
            self._progress = job_bars(self.console)
            self._overall = self._progress.add_task("all jobs", total=self._total, detail="")
            self._progress.start()
        self._progress.update(self._overall, total=self._total)

    def end(self) -> None:
        """Remove the display from the terminal; also after an interruption."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def started(self, job: Job) -> None:
        """Show that a worker has got `job`."""
        ahead = self._ahead[job.key]
        ahead.began = time.monotonic()
        self._count_begun(ahead)
        if self._progress is not None:
            ahead.line = self._progress.add_task(one_line(job.name), total=None, detail="")

    def progressed(self, job: Job, beat: Beat) -> None:
        """Show that `job` reported `beat`."""
        ahead, done = self._ahead[job.key], max(beat.done, 0)
        if beat.total:
            ahead.left = 1.0 - done / beat.total
            ahead.paced_from = ahead.paced_from or (time.monotonic(), ahead.left)
        if self._progress is not None and ahead.line is not None:
            metrics = "  ".join(f"{k} {v:.4g}" for k, v in beat.metrics.items())
            self._progress.update(ahead.line, completed=done, total=beat.total or None, detail=metrics)
            self._progress.update(self._overall, completed=self._done, detail=f"{self.time_left()} left")

    def finished(self, job: Job) -> None:
        """Show that `job` ended well."""
        ahead = self._ahead[job.key]
        seconds = time.monotonic() - ahead.began
        self.pace.learn(ahead.size, seconds)
        self._close(job)
        if not self.console.is_terminal:
            say(self.console, f"{self._done}/{self._total}  {job.name}  {seconds:.0f} s  ({self.time_left()} left)")

    def failed(self, job: Job, reason: str) -> None:
        """Show that `job` ended badly, for good."""
        self._close(job)
        say(self.console, ("failed", "red"), f" {job.name}: {reason}")

    def retried(self, job: Job, reason: str) -> None:
        """Show that `job` lost its worker, and goes on in another one.

        `reason`: empty if that was said before.
        """
        self._drop_line(self._ahead[job.key])
        if reason:
            say(self.console, ("worker lost", "yellow"), f", going on with {job.name}: {reason}")

    def tell(self, traceback: str, job: Job, log: Path) -> None:
        """Show the first error of a row; later ones are in the logs alone."""
        say(self.console, ("first error", "yellow"), f" in {job.name}; all are in {log}", wrap=False)
        for line in traceback.rstrip().splitlines():
            say(self.console, line, wrap=False)

    def time_left(self) -> str:
        """Return the expected time to the end, such as `4 min`: no shorter than the
        longest job.
        """
        each = [(self._seconds_left(ahead), 1) for ahead in self._begun.values()]
        each += [(self.pace.expect(size), count) for size, count in self._unbegun.items()]
        longest = max((seconds for seconds, _ in each), default=0.0)
        seconds = max(sum(seconds * count for seconds, count in each) / self.threads, longest, 0.0)
        return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"

    def _seconds_left(self, ahead: _Ahead) -> float:
        """Return the seconds from the job's own pace once it has one, else from jobs of
        its kind.
        """
        if ahead.paced_from is not None:
            began, left_then = ahead.paced_from
            done_since = left_then - ahead.left
            if done_since > PACE_KNOWN:
                return (time.monotonic() - began) * ahead.left / done_since
        return self.pace.expect(ahead.size) * ahead.left

    def _close(self, job: Job) -> None:
        self._done += 1
        ahead = self._ahead.pop(job.key)
        self._count_begun(ahead)
        del self._begun[job.key]
        self._drop_line(ahead)

    def _count_begun(self, ahead: _Ahead) -> None:
        """Look at a job by itself from now on."""
        if ahead.job.key not in self._begun:
            self._begun[ahead.job.key] = ahead
            self._unbegun[ahead.size] -= 1
            if not self._unbegun[ahead.size]:
                del self._unbegun[ahead.size]

    def _drop_line(self, ahead: _Ahead) -> None:
        if self._progress is not None and ahead.line is not None:
            self._progress.remove_task(ahead.line)
            self._progress.update(self._overall, completed=self._done)
        ahead.line = None
