"""Where jobs run: in this process, or in local worker processes that may die or be
killed one by one.
"""

from __future__ import annotations

import functools
import os
import signal
import time
import traceback
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait

from altbench.core.errors import AltbenchError
from altbench.results.run import Run
from altbench.runner.heartbeat import Heartbeat
from altbench.runner.jobs import Job
from altbench.runner.worker import Worker
from altbench.system import processes
from altbench.system.job_log import append, logged
from altbench.system.member import Answer, Member, first_member


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
    supervises: bool = False
    """Whether it ends workers that hang or have too many threads, and tries jobs again
    that lose them. The scheduler then does neither."""

    @abstractmethod
    def submit(self, run: Run, job: Job) -> None:
        """Start `job`."""

    @abstractmethod
    def collect(self, timeout: float) -> list[Outcome]:
        """Return the jobs that ended since the last call.

        Wait up to `timeout` seconds for the first.
        """

    def crowd(self, job: Job) -> int:
        """Return how many threads the worker of `job` and its children have; 0: unknown."""
        del job
        return 0

    @abstractmethod
    def kill(self, job: Job) -> None:
        """End the worker that runs `job`; `collect` never returns that job."""

    @abstractmethod
    def close(self) -> None:
        """End all workers at once, and close what they keep."""


class InlineExecutor(Executor):
    """An executor that runs each job at once in this process.

    It is for debugging (`--workers 0`) and tests. `raises`: errors of policies and jobs
    are raised, so that a debugger sees where they come from.
    """

    threads = 1

    def __init__(self, raises: bool = False) -> None:
        self._ended: list[Outcome] = []
        self._worker = Worker(raises)

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
    """An executor of up to `workers` local worker processes.

    They start when they are needed. A worker that dies loses its own job alone; its
    children are ended, and another one takes its place.
    """

    def __init__(self, workers: int) -> None:
        self.threads = workers
        # Threads are set job by job; libraries that read this at import must not take
        # all cores for themselves.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        self._idle: list[Member] = []
        self._working: dict[str, tuple[Job, Member]] = {}
        self._starts_well = False
        # A caller that forgets `close` would else wait for its workers for ever.
        self._at_exit = weakref.finalize(self, _end_all, self._idle, self._working)

    def submit(self, run: Run, job: Job) -> None:
        member = self._idle.pop() if self._idle else self._new_member()
        self._working[job.key] = (job, member)
        member.ask(attempt_here, run.for_worker(), job)

    def _new_member(self) -> Member:
        member = Member() if self._starts_well else first_member()
        self._starts_well = True
        return member

    def collect(self, timeout: float) -> list[Outcome]:
        deadline = time.monotonic() + timeout
        while True:
            ended = [outcome for key in list(self._working) for outcome in self._settled(key)]
            left = deadline - time.monotonic()
            if ended or left <= 0:
                return ended
            sources = [source for _, member in self._working.values() for source in member.sources()]
            wait(sources, left) if sources else time.sleep(left)

    def _settled(self, key: str) -> list[Outcome]:
        """Return the outcome of a job if it has ended."""
        job, member = self._working[key]
        answer = member.answer()
        if answer is None:
            return []
        del self._working[key]
        if isinstance(answer, Answer) and not answer.last:
            self._idle.append(member)
        else:
            member.end()
        if isinstance(answer, Answer):
            return [Outcome(job, answer.error or answer.value)]
        return [Outcome(job, died=how_it_ended(answer))]

    def crowd(self, job: Job) -> int:
        return processes.threads_of(self._working[job.key][1].pid)

    def kill(self, job: Job) -> None:
        self._working.pop(job.key)[1].end()

    def close(self) -> None:
        _end_all(self._idle, self._working)


def _end_all(idle: list[Member], working: dict[str, tuple[Job, Member]]) -> None:
    """End all workers, whatever they do."""
    for member in [*idle, *(member for _, member in working.values())]:
        member.end()
    idle.clear()
    working.clear()


@functools.cache
def _own_worker() -> Worker:
    """Return the worker of this process, which a pool started for jobs alone."""
    return Worker()


def attempt_here(run: Run, job: Job) -> str:
    """Do `job` with this process's own worker, as `attempt`.

    What it prints goes into the job's log.
    """
    with logged(run.folder.log(job.name), job.name):
        return attempt(run, job, _own_worker())


def attempt(run: Run, job: Job, worker: Worker) -> str:
    """Do `job`; return what went wrong, in words, or an empty text.

    Not every exception can travel between processes; a text can.
    """
    try:
        with _working_in(run.origin):
            job.do(run.for_worker(worker.reader), worker, Heartbeat(run.folder, job.key))
    except Exception as error:
        if worker.raises:
            raise
        append(run.folder.log(job.name), f"--- {job.name}\n{''.join(traceback.format_exception(error))}")
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
    """Return an executor of `workers` processes; 0: this process, which raises errors."""
    return ProcessExecutor(workers) if workers else InlineExecutor(raises=True)
