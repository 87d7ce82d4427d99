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
from altbench.runner.estimate import first_guesses
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


class Feed:
    """Jobs that come while others run. This one has none."""

    def is_over(self) -> bool:
        """Return whether no more jobs will come."""
        return True

    def more(self, free: int) -> Sequence[Job]:
        """Return new jobs, for `free` idle threads; perhaps none now."""
        del free
        return ()

    def ended(self, job: Job, error: str) -> None:
        """Hear that `job` ended. `error`: why it failed; empty if it ended well."""

    def check(self) -> None:
        """Raise AltbenchError if the jobs may not go on."""


class Scheduler:
    """The loop that runs jobs of one run on an executor, and shows them on a board."""

    def __init__(self, run: Run, executor: Executor, board: Board) -> None:
        self.run, self.executor, self.board = run, executor, board
        self._feed = Feed()
        self._waiting: dict[str, InFlight] = {}
        self._running: dict[str, InFlight] = {}
        self._being_made: set[str] = set()
        self._not_last: set[str] = set()
        self._finished: list[Job] = []
        self._failed: dict[str, str] = {}
        self._told: set[str] = set()

    def finish(self, jobs: Sequence[Job], feed: Feed | None = None) -> Ended:
        """Run `jobs`, and those that come from `feed`, to their ends, good or bad."""
        self._feed = feed or self._feed
        self.board.begin(())
        self._add(jobs)
        looked = time.monotonic()
        try:
            while self._waiting or self._running or not self._feed.is_over():
                self.run.folder.check_held()
                self._feed.check()
                if not self._feed.is_over():
                    self._add(self._feed.more(self._free()))
                self._start_ready()
                outcomes = self.executor.collect(timeout=POLL_S)
                self._feed.check()  # a process that was suspended wakes up in any line
                for outcome in outcomes:
                    self._settle(outcome)
                if (elapsed := time.monotonic() - looked) >= POLL_S or not self._running:
                    # A machine that slept, or a runner that was stopped, must not look
                    # like workers that hang.
                    self._watch(min(elapsed, 2 * POLL_S))
                    looked = time.monotonic()
        finally:
            self.board.end()
        return Ended(tuple(self._finished), self._failed)

    def _add(self, jobs: Sequence[Job]) -> None:
        """Let `jobs` wait for their turn."""
        self.board.add(jobs, first_guesses(self.run, jobs))
        self._waiting.update({job.key: InFlight(job) for job in jobs})
        self._being_made.update(job.checkpoint_key for job in jobs if job.makes_checkpoint)
        self._not_last.update(job.key for job in jobs if not job.runs_last)

    def _free(self) -> int:
        """Return how many threads have no job, counting those that wait."""
        wanted = sum(self._threads(one.job) for one in (*self._waiting.values(), *self._running.values()))
        return max(0, self.executor.threads - wanted)

    def _start_ready(self) -> None:
        """Start waiting jobs, in order, while threads are free."""
        used = sum(self._threads(one.job) for one in self._running.values())
        ready = []
        for one in self._waiting.values():
            if used >= self.executor.threads:
                break
            job = one.job
            needs_one_being_made = not job.makes_checkpoint and job.checkpoint_key in self._being_made
            too_many = used and used + self._threads(job) > self.executor.threads
            if needs_one_being_made or (job.runs_last and self._not_last) or too_many:
                continue
            ready.append(one)
            used += self._threads(job)
        for one in ready:
            self._start(one)

    def _start(self, one: InFlight) -> None:
        del self._waiting[one.job.key]
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
            # If the executor watches its workers, it lost one for no fault of the policy's.
            one.pulse = Pulse() if self.executor.supervises else read_pulse(self.run.folder, one.job.key)
            self._lose(one, f"its worker process died ({outcome.died})")
        elif outcome.error:
            self._fail(one.job, outcome.error)
        else:
            self._finished.append(one.job)
            self._forget(one.job, "")
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
            if self.executor.supervises:
                continue
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
        self._waiting = {one.job.key: one, **self._waiting}

    def _fail(self, job: Job, reason: str) -> None:
        """Give a job up, and with a fit all jobs that wait for its checkpoint: none of
        them could succeed.
        """
        self._give_up(job, reason)
        if not job.makes_checkpoint:
            return
        for other in [one for one in self._waiting.values() if one.job.checkpoint_key == job.checkpoint_key]:
            del self._waiting[other.job.key]
            self._give_up(other.job, "its checkpoint could not be fitted")

    def _give_up(self, job: Job, reason: str) -> None:
        with suppress(OSError):  # on a full disk the job's name and reason must do
            job.record_missing(self.run, reason)
        self._failed[job.name] = reason
        self._forget(job, reason)
        self.board.failed(job, reason)

    def _forget(self, job: Job, error: str) -> None:
        """Take a job that ended off the books, and tell who gave it."""
        self._not_last.discard(job.key)
        if job.makes_checkpoint:
            self._being_made.discard(job.checkpoint_key)
        self._feed.ended(job, error)


def _verdict(deaths: Sequence[Pulse], message: str, guilty_of: Status | None) -> tuple[Status, str]:
    """Return the status of an episode that cost its workers, and its message."""
    if guilty_of:
        return guilty_of, message
    if all(pulse.asks for pulse in deaths):
        return "policy_crash", f"{message} while the policy was asked ({deaths[-1].phase})"
    return MISSING, message
