"""The loop that runs jobs.

Fits run before their cells, measurements alone at the end. A job that loses its worker
is tried again, at last without the episode that it was in.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from altbench.results.run import Run
from altbench.rollout.records import MISSING, Status
from altbench.runner.episode_watch import notes_of
from altbench.runner.executors import Executor, Outcome
from altbench.runner.heartbeat import NOT_BEGUN, Beat, Pulse, forget_beat, read_beat, read_pulse
from altbench.runner.jobs import Job
from altbench.runner.progress import Board
from altbench.runner.work import Lost
from altbench.system.fingerprint import usable_cores
from altbench.system.job_log import append, trim

MOST_THREADS = 32 + 8 * usable_cores()
"""The most threads of a worker and its children, all together: a process is one at least.

A limit of the system's (RLIMIT_NPROC) would count all processes of a user, and none of root's.
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
    """A job and what the scheduler knows about it: last beat and pulse, seconds since
    the last new one, and where workers were lost, by episode.
    """

    job: Job
    beat: Beat = field(default_factory=Beat)
    pulse: Pulse = field(default_factory=Pulse)
    silent_s: float = 0.0
    deaths: dict[int, list[Pulse]] = field(default_factory=dict)


class Scheduler:
    """The loop that runs jobs of one run on an executor, and shows them on a board."""

    def __init__(self, run: Run, executor: Executor, board: Board) -> None:
        self.run, self.executor, self.board = run, executor, board
        self._waiting: list[InFlight] = []
        self._running: dict[str, InFlight] = {}
        self._finished: list[Job] = []
        self._failed: dict[str, str] = {}
        self._told: set[str] = set()

    def finish(self, jobs: Sequence[Job]) -> Ended:
        """Run `jobs` to their ends, good or bad."""
        self._waiting = [InFlight(job) for job in jobs]
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
            one.pulse = read_pulse(self.run.folder, one.job.key)
            self._lose(one, f"its worker process died ({outcome.died})")
        elif outcome.error:
            self._fail(one.job, outcome.error)
        else:
            self._finished.append(one.job)
            self._tell_first_error(one.job)
            self.board.finished(one.job)

    def _tell_first_error(self, job: Job) -> None:
        """Show the first traceback of a row's cells, once."""
        notes = notes_of(self.run.folder, job.name, job.key)
        if job.row not in self._told and notes.first.is_file():
            self._told.add(job.row)
            self.board.tell(notes.first.read_text(encoding="utf-8"), job, notes.log)

    def _watch(self, elapsed_s: float) -> None:
        """Show how far the running jobs are.

        Replace a worker whose policy hangs where Python cannot interrupt it, or that
        has too many threads.
        """
        for one in list(self._running.values()):
            beat, pulse = read_beat(self.run.folder, one.job.key), read_pulse(self.run.folder, one.job.key)
            self.board.progressed(one.job, beat)
            trim(self.run.folder.log(one.job.name))
            same = (beat.number, pulse.number) == (one.beat.number, one.pulse.number)
            one.silent_s = one.silent_s + elapsed_s if same else 0.0
            one.beat, one.pulse = beat, pulse
            limit, crowd = one.job.silence_s(self.run, pulse), self.executor.crowd(one.job)
            if limit is not None and one.silent_s > limit:
                self._replace(one, "policy_timeout" if pulse.asks else None, "the worker hung and was replaced")
            elif crowd > MOST_THREADS:
                reason = f"its worker and its children had {crowd} threads, more than {MOST_THREADS}, and were ended"
                self._replace(one, "policy_crash", reason)

    def _replace(self, one: InFlight, status: Status | None, reason: str) -> None:
        """Kill a worker. `status`: what its policy is guilty of; None: it is not known."""
        self.executor.kill(one.job)
        del self._running[one.job.key]
        last = read_pulse(self.run.folder, one.job.key)
        if status == "policy_timeout" and last.number != one.pulse.number:
            status = None  # it went on before it was killed, so nothing hung
        one.pulse = last
        self._lose(one, reason, status)

    def _lose(self, one: InFlight, reason: str, guilty_of: Status | None = None) -> None:
        """Try a job again whose worker was lost, without the episode that cost too many.

        An episode is lost if the policy is certainly `guilty_of` the loss, or at the
        job's last try. It is the policy's failure if the policy was asked each time; else
        the cause is unknown. A job that loses workers before its first episode fails.
        """
        episode = one.pulse.episode
        where = "before its first episode" if episode == NOT_BEGUN else f"in episode {episode} ({one.pulse.phase})"
        with suppress(OSError):  # on a full disk the board's line must do
            append(self.run.folder.log(one.job.name), f"--- {where}: {reason}\n")
        deaths = one.deaths.setdefault(episode, [])
        deaths.append(one.pulse)
        if guilty_of or len(deaths) >= one.job.tries:
            tries = reason if guilty_of else f"{reason}, {len(deaths)} times"
            lost = Lost(episode, *_verdict(deaths, tries, guilty_of))
            rest = None if episode == NOT_BEGUN else one.job.without(lost)
            if rest is None:
                self._fail(one.job, tries)
                return
            one.job = rest
        one.beat, one.pulse = Beat(), Pulse()
        # One line for each episode; its further tries would only repeat it.
        self.board.retried(one.job, reason if len(deaths) == 1 else "")
        self._waiting.insert(0, one)

    def _fail(self, job: Job, reason: str) -> None:
        """Give a job up, and with a fit all jobs that wait for its checkpoint: none of
        them could succeed.
        """
        self._give_up(job, reason)
        if not job.makes_checkpoint:
            return
        for other in [one for one in self._waiting if one.job.checkpoint_key == job.checkpoint_key]:
            self._waiting.remove(other)
            self._give_up(other.job, "its checkpoint could not be fitted")

    def _give_up(self, job: Job, reason: str) -> None:
        with suppress(OSError):  # on a full disk the job's name and reason must do
            job.record_missing(self.run, reason)
        self._failed[job.name] = reason
        self.board.failed(job, reason)


def _verdict(deaths: Sequence[Pulse], message: str, guilty_of: Status | None) -> tuple[Status, str]:
    """Return the status of an episode that cost its workers, and its message."""
    if guilty_of:
        return guilty_of, message
    if all(pulse.asks for pulse in deaths):
        return "policy_crash", f"{message} while the policy was asked ({deaths[-1].phase})"
    return MISSING, message
