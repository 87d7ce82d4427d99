"""The loop that runs jobs.

Fits run before their cells, measurements alone at the end. A job that loses its worker
is tried again, at last without the episode that it was in.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from altbench.results.run import Run
from altbench.rollout.records import Status
from altbench.runner.executors import Executor, Outcome
from altbench.runner.heartbeat import NOT_BEGUN, Beat, forget_beat, read_beat
from altbench.runner.jobs import Job
from altbench.runner.progress import Board
from altbench.runner.work import Lost

WORKER_DEATHS = 2
"""How often a job whose worker was lost is tried again as it is."""
HANG_GRACE_S = 60.0
"""Seconds of silence beyond a job's own limit: time to load a policy and to simulate a
chunk.
"""
POLL_S = 0.5
"""Seconds between two looks at the running jobs."""


@dataclass(frozen=True)
class Ended:
    """The end of a set of jobs: those that finished, and name -> reason for those that
    failed.
    """

    finished: tuple[Job, ...]
    failed: dict[str, str]


@dataclass
class InFlight:
    """A job and what the scheduler knows about it: last beat, seconds since the last
    new beat, workers lost.
    """

    job: Job
    beat: Beat = field(default_factory=Beat)
    silent_s: float = 0.0
    deaths: int = 0


class Scheduler:
    """The loop that runs jobs of one run on an executor, and shows them on a board."""

    def __init__(self, run: Run, executor: Executor, board: Board) -> None:
        self.run, self.executor, self.board = run, executor, board
        self._waiting: list[InFlight] = []
        self._running: dict[str, InFlight] = {}
        self._finished: list[Job] = []
        self._failed: dict[str, str] = {}

    def finish(self, jobs: Sequence[Job]) -> Ended:
        """Run `jobs` to their ends, good or bad."""
        self._waiting = [InFlight(job) for job in jobs]
        self.executor.expect(len(jobs))
        self.board.begin(jobs)
        try:
            while self._waiting or self._running:
                self.run.folder.check_held()
                self._start_ready()
                began = time.monotonic()
                for outcome in self.executor.collect(timeout=POLL_S):
                    self._settle(outcome)
                # A machine that slept, or a runner that was stopped, must not look like
                # workers that hang.
                self._watch(min(time.monotonic() - began, 2 * POLL_S))
        finally:
            self.board.end()
        return Ended(tuple(self._finished), self._failed)

    def _start_ready(self) -> None:
        """Start waiting jobs, in order, while threads are free."""
        used = sum(self._threads(one.job) for one in self._running.values())
        unfinished = [one.job for one in (*self._waiting, *self._running.values())]
        being_made = {job.checkpoint_key for job in unfinished if job.makes_checkpoint}
        others = any(not job.runs_last for job in unfinished)
        for one in list(self._waiting):
            if used >= self.executor.threads:
                return
            job = one.job
            needs_one_being_made = not job.makes_checkpoint and job.checkpoint_key in being_made
            too_many = used and used + self._threads(job) > self.executor.threads
            if needs_one_being_made or (job.runs_last and others) or too_many:
                continue
            self._start(one)
            used += self._threads(job)

    def _start(self, one: InFlight) -> None:
        self._waiting.remove(one)
        self._running[one.job.key] = one
        one.silent_s = 0.0
        forget_beat(self.run.folder, one.job.key)
        self.board.started(one.job)
        self.executor.submit(self.run, one.job)

    def _threads(self, job: Job) -> int:
        return job.threads(self.run, self.executor.threads)

    def _settle(self, outcome: Outcome) -> None:
        one = self._running.pop(outcome.job.key)
        if outcome.died:
            # What it last reported may be newer than the last look, and names the
            # episode that it died in.
            one.beat = read_beat(self.run.folder, one.job.key)
            self._lose(one, "infra_error", f"its worker process died ({outcome.died})")
        elif outcome.error:
            self._fail(one.job, outcome.error)
        else:
            self._finished.append(one.job)
            self.board.finished(one.job)

    def _watch(self, elapsed_s: float) -> None:
        """Show how far the running jobs are.

        Replace a worker whose policy hangs where Python cannot interrupt it.
        """
        for one in list(self._running.values()):
            beat = read_beat(self.run.folder, one.job.key)
            self.board.progressed(one.job, beat)
            one.silent_s = 0.0 if beat.number != one.beat.number else one.silent_s + elapsed_s
            one.beat = beat
            limit = one.job.silence_s(self.run)
            if limit is not None and one.silent_s > limit + HANG_GRACE_S:
                self.executor.kill(one.job)
                del self._running[one.job.key]
                one.deaths = WORKER_DEATHS  # it has had its time
                self._lose(one, "policy_timeout", "the worker hung and was replaced")

    def _lose(self, one: InFlight, status: Status, message: str) -> None:
        """Try a job again whose worker was lost.

        After `WORKER_DEATHS` tries it goes on without the episode that it was in, or
        fails if it was in none. That episode is recorded with `status`: a hang is the
        policy's fault, but the cause of a death is unknown.
        """
        one.deaths += 1
        if one.deaths > WORKER_DEATHS:
            tries = f"{message}, {one.deaths} times"
            lost = Lost(one.beat.done, status, tries if status == "infra_error" else message)
            rest = None if one.beat.done == NOT_BEGUN else one.job.without(lost)
            if rest is None:
                self._fail(one.job, tries)
                return
            # The next episode may lose its worker as well, and has as many tries.
            one.job, one.deaths = rest, 0
        one.beat = Beat()
        self.board.retried(one.job)
        self._waiting.insert(0, one)

    def _fail(self, job: Job, reason: str) -> None:
        """Give a job up, and with a fit all jobs that wait for its checkpoint: none of
        them could succeed.
        """
        self._failed[job.name] = reason
        self.board.failed(job, reason)
        if not job.makes_checkpoint:
            return
        for other in [one for one in self._waiting if one.job.checkpoint_key == job.checkpoint_key]:
            self._waiting.remove(other)
            self._failed[other.job.name] = "its checkpoint could not be fitted"
            self.board.failed(other.job, self._failed[other.job.name])
