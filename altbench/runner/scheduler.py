"""Which job runs when: fits before their cells, measurements alone at the end; and what becomes of lost workers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from altbench.results.run import Run
from altbench.rollout.records import Status
from altbench.runner.executors import Executor, Outcome
from altbench.runner.heartbeat import NOT_BEGUN, Beat, forget_beat, read_beat
from altbench.runner.jobs import CollectJob, FitJob, Job, Lost, MeasureJob, RolloutJob
from altbench.runner.progress import Board

WORKER_DEATHS = 2
"""How often a job whose worker was lost is tried again as it is."""
HANG_GRACE_S = 60.0
"""Beyond the time limit of a decision: time to load a policy and simulate a chunk."""
POLL_S = 0.5


@dataclass
class State:
    """Jobs while they are run: what waits, what is in flight and since when it is silent, what went wrong."""

    waiting: list[Job]
    running: dict[str, Job] = field(default_factory=dict)
    beats: dict[str, Beat] = field(default_factory=dict)
    silent_s: dict[str, float] = field(default_factory=dict)
    deaths: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    ran: int = 0


def run_jobs(run: Run, executor: Executor, board: Board, jobs: Sequence[Job]) -> State:
    """Run `jobs` to their ends, good or bad."""
    state = State(waiting=list(jobs))
    board.begin(jobs)
    try:
        while state.waiting or state.running:
            _start_ready(run, executor, board, state)
            began = time.monotonic()
            for outcome in executor.collect(timeout=POLL_S):
                _settle(run, board, state, outcome)
            # A machine that slept, or a runner that was stopped, must not look like workers that hang.
            _watch(run, executor, board, state, min(time.monotonic() - began, 2 * POLL_S))
    finally:
        board.end()
    return state


def _start_ready(run: Run, executor: Executor, board: Board, state: State) -> None:
    """Start waiting jobs, in order, while threads are free."""
    for job in list(state.waiting):
        if _blocked(job, state):
            continue
        used = sum(_threads(run, executor, j) for j in state.running.values())
        if used and used + _threads(run, executor, job) > executor.threads:
            continue
        state.waiting.remove(job)
        state.running[job.key] = job
        state.silent_s[job.key] = 0.0
        forget_beat(run.folder, job.key)
        board.started(job)
        executor.submit(run, job)


def _threads(run: Run, executor: Executor, job: Job) -> int:
    match job:
        case FitJob():
            return run.sweep.train_threads
        case RolloutJob():
            return run.sweep.rollout_threads
        case MeasureJob():
            return executor.threads  # nothing else may disturb it
        case CollectJob():
            return 1


def _blocked(job: Job, state: State) -> bool:
    """Whether `job` must wait for its checkpoint, or, a measurement, for all other work."""
    unfinished = [*state.waiting, *state.running.values()]
    if isinstance(job, MeasureJob):
        return any(not isinstance(other, MeasureJob) for other in unfinished)
    if isinstance(job, RolloutJob):
        key = job.cell.checkpoint.key
        return any(isinstance(other, FitJob) and other.checkpoint.key == key for other in unfinished)
    return False


def _settle(run: Run, board: Board, state: State, outcome: Outcome) -> None:
    job = state.running.pop(outcome.job.key)
    if outcome.died:
        # What it last said may be newer than the last look at it, and names the episode that it died in.
        state.beats[job.key] = read_beat(run.folder, job.key)
        _lose(board, state, job, "infra_error", f"its worker process died ({outcome.died})")
    elif outcome.error:
        _fail(board, state, job, outcome.error)
    else:
        state.ran += isinstance(job, RolloutJob)
        board.finished(job)


def _watch(run: Run, executor: Executor, board: Board, state: State, elapsed: float) -> None:
    """Show how far the running jobs are; replace a worker whose policy hangs where Python cannot interrupt it."""
    limit = run.sweep.decision_timeout_s + HANG_GRACE_S
    for job in list(state.running.values()):
        beat = read_beat(run.folder, job.key)
        board.progressed(job, beat)
        changed = beat.number != state.beats.get(job.key, Beat()).number
        state.beats[job.key] = beat
        state.silent_s[job.key] = 0.0 if changed else state.silent_s[job.key] + elapsed
        if isinstance(job, RolloutJob) and state.silent_s[job.key] > limit:
            executor.kill(job)
            state.running.pop(job.key)
            state.deaths[job.key] = WORKER_DEATHS  # it has had its time
            _lose(board, state, job, "policy_timeout", "the worker hung and was replaced")


def _lose(board: Board, state: State, job: Job, status: Status, message: str) -> None:
    """A worker was lost: try again; at last without the episode that it was in, where it was in one.

    That episode is recorded with `status`: whether a death was the policy's fault cannot be told, a hang is.
    """
    beat = state.beats.pop(job.key, Beat())
    deaths = state.deaths[job.key] = state.deaths.get(job.key, 0) + 1
    if deaths > WORKER_DEATHS:
        if not isinstance(job, RolloutJob) or beat.done == NOT_BEGUN:
            _fail(board, state, job, f"{message}, {deaths} times")
            return
        state.deaths[job.key] = 0
        tries = f"{message}, {deaths} times" if status == "infra_error" else message
        job = replace(job, lost=(*job.lost, Lost(beat.done, status, tries)))
    board.retried(job)
    state.waiting.insert(0, job)


def _fail(board: Board, state: State, job: Job, reason: str) -> None:
    state.failed[job.name] = reason
    board.failed(job, reason)
    if not isinstance(job, FitJob):
        return
    key = job.checkpoint.key
    for other in [j for j in state.waiting if _checkpoint_of(j) == key]:
        state.waiting.remove(other)
        state.failed[other.name] = "its checkpoint could not be fitted"
        board.failed(other, state.failed[other.name])


def _checkpoint_of(job: Job) -> str:
    match job:
        case RolloutJob(cell=cell):
            return cell.checkpoint.key
        case MeasureJob(measurement=measurement):
            return measurement.checkpoint.key
        case FitJob(checkpoint=checkpoint):
            return checkpoint.key
        case CollectJob():
            return ""
