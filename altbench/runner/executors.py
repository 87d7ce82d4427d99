"""Where jobs run: in this process, or in local worker processes that may die or be
killed one by one.
"""

from __future__ import annotations

import functools
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from altbench.core.errors import AltbenchError
from altbench.results.run import Run
from altbench.runner.heartbeat import Heartbeat
from altbench.runner.jobs import Job
from altbench.runner.worker import Worker
from altbench.system.workers import check_workers_start, spawned_pool

if TYPE_CHECKING:
    from pebble import ProcessPool


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    `error`: what went wrong, in words. `died`: how its worker process ended, if it did.
    Both are empty for a job that ended well.
    """

    job: Job
    error: str = ""
    died: str = ""


class Executor(ABC):
    """Runs jobs somewhere: here, in other processes, or on other machines.

    A job and its run can be pickled; `attempt_here` does them in any process that sees
    the run's folder. The scheduler does not give more jobs than fit in `threads`
    threads.
    """

    threads: int

    def expect(self, jobs: int) -> None:
        """Prepare for `jobs` jobs before any of them runs; more workers are of no use."""
        del jobs

    @abstractmethod
    def submit(self, run: Run, job: Job) -> None:
        """Start `job`."""

    @abstractmethod
    def collect(self, timeout: float) -> list[Outcome]:
        """Return the jobs that ended since the last call.

        Wait up to `timeout` seconds for the first.
        """

    @abstractmethod
    def kill(self, job: Job) -> None:
        """End the worker that runs `job`; `collect` never returns that job."""

    @abstractmethod
    def close(self) -> None:
        """End all workers at once, and close what they keep."""


class InlineExecutor(Executor):
    """An executor that runs each job at once in this process.

    It is for debugging (`--workers 0`) and tests.
    """

    threads = 1

    def __init__(self) -> None:
        self._ended: list[Outcome] = []
        self._worker = Worker()

    def submit(self, run: Run, job: Job) -> None:
        self._ended.append(Outcome(job, attempt(run, job, self._worker)))

    def collect(self, timeout: float) -> list[Outcome]:
        del timeout
        ended, self._ended = self._ended, []
        return ended

    def kill(self, job: Job) -> None:
        del job

    def close(self) -> None:
        self._worker.close()


class ProcessExecutor(Executor):
    """An executor of up to `workers` local worker processes (pebble).

    They start with the first job, no more of them than there are jobs. A worker that
    dies loses its own job alone, and is replaced.
    """

    def __init__(self, workers: int) -> None:
        self.threads = workers
        # Threads are set job by job; libraries that read this at import must not take
        # all cores for themselves.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        self._pool: ProcessPool | None = None
        self._started, self._wanted, self._broken = 0, workers, False
        self._running: dict[str, tuple[Job, object]] = {}

    def expect(self, jobs: int) -> None:
        self._wanted = max(1, min(self.threads, jobs))

    def submit(self, run: Run, job: Job) -> None:
        future = self._ready_pool().schedule(attempt_here, args=[run.for_worker(), job])
        self._running[job.key] = (job, future)

    def _ready_pool(self) -> ProcessPool:
        """Return the pool; a larger one if more workers are wanted and none is at work."""
        if self._pool is not None and self._wanted > self._started and not self._running:
            self.close()
        if self._pool is None:
            self._pool, self._started = spawned_pool(self._wanted), self._wanted
            try:
                check_workers_start(self._pool)
            except BaseException:
                self.close()
                raise
        return self._pool

    def collect(self, timeout: float) -> list[Outcome]:
        deadline = time.monotonic() + timeout
        while True:
            ended = [self._outcome(*self._running.pop(key)) for key in self._done_keys()]
            if self._broken:
                # All its jobs have ended with it, and are tried again in a new one.
                self.close()
            if ended or time.monotonic() >= deadline:
                return ended
            time.sleep(0.05)

    def kill(self, job: Job) -> None:
        self._running.pop(job.key)[1].cancel()  # type: ignore[attr-defined]

    def close(self) -> None:
        if self._pool is not None:
            self._pool.stop()
            self._pool.join(timeout=10)
            self._pool, self._broken = None, False

    def _done_keys(self) -> list[str]:
        return [key for key, (_, future) in self._running.items() if future.done()]  # type: ignore[attr-defined]

    def _outcome(self, job: Job, future: object) -> Outcome:
        from concurrent.futures.process import BrokenProcessPool

        from pebble import ProcessExpired

        error = future.exception()  # type: ignore[attr-defined]
        if isinstance(error, ProcessExpired):
            return Outcome(job, died=how_it_ended(error.exitcode))
        # pebble gives up if a worker dies before it is known which job it had.
        if isinstance(error, BrokenProcessPool):
            self._broken = True
            return Outcome(job, died="as soon as it had begun")
        return Outcome(job, describe(error) if error else future.result())  # type: ignore[attr-defined]


@functools.cache
def _own_worker() -> Worker:
    """Return the worker of this process, which a pool started for jobs alone."""
    return Worker()


def attempt_here(run: Run, job: Job) -> str:
    """Do `job` with this process's own worker, as `attempt`."""
    return attempt(run, job, _own_worker())


def attempt(run: Run, job: Job, worker: Worker) -> str:
    """Do `job`; return what went wrong, in words, or an empty text.

    Not every exception can travel between processes; a text can.
    """
    try:
        with _working_in(run.origin):
            job.do(run.for_worker(worker.reader), worker, Heartbeat(run.folder, job.key))
    except Exception as error:
        return describe(error)
    return ""


@contextmanager
def _working_in(folder: str) -> Iterator[None]:
    """Do the block in the working directory `folder`, and end it there.

    A policy may change the directory; the next job's relative paths must not follow it.
    """
    with suppress(OSError):
        os.chdir(folder)
    try:
        yield
    finally:
        with suppress(OSError):
            os.chdir(folder)


def how_it_ended(exitcode: int) -> str:
    """Return a dead process's exit code in words: `signal 9, SIGKILL`, `exit code 3`."""
    if exitcode >= 0:
        return f"exit code {exitcode}"
    named = [f", {one.name}" for one in signal.Signals if one == -exitcode]
    return f"signal {-exitcode}{''.join(named[:1])}"


def describe(error: BaseException) -> str:
    """Return an error as one line: the message of our own errors, kind and message of
    others.
    """
    text = " ".join(str(error).split())
    return text if isinstance(error, AltbenchError) else f"{type(error).__name__}: {text}"


def make_executor(workers: int) -> Executor:
    """Return an executor of `workers` processes; 0: this process."""
    return ProcessExecutor(workers) if workers else InlineExecutor()
