"""A sweep, run: plan the cells, fit, roll out, record, resume. Nothing that is finished is done again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from altbench import registry, results
from altbench.config import SweepSpec
from altbench.errors import AltbenchError
from altbench.executors import Executor, Outcome
from altbench.jobs import CollectJob, FitJob, Job, MeasureJob, RolloutJob, Setting, read_heartbeat
from altbench.plan import Checkpoint, Plan, make_plan, stamp
from altbench.progress import Board
from altbench.store import RunFolder, remove_leftovers, write_text

WORKER_DEATHS = 2
"""How often a job whose worker died is tried again."""
HANG_GRACE_S = 60.0
"""Beyond the time limit of a decision: time to load a policy and simulate a chunk."""


@dataclass(frozen=True)
class Summary:
    """What a run did: cells found finished, cells run now, and the jobs that failed with their reasons."""

    plan: Plan
    found: int
    ran: int
    failed: tuple[tuple[str, str], ...]


@dataclass
class _State:
    """The run while it goes on: what waits, what is in flight, what went wrong."""

    waiting: list[Job]
    running: dict[str, Job] = field(default_factory=dict)
    deaths: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    ran: int = 0


def run_sweep(sweep: SweepSpec, root: Path, executor: Executor, board: Board, device: str, renderer: str) -> Summary:
    """Run everything of `sweep` that is not finished under `root`; KeyboardInterrupt leaves it to be continued."""
    folder = RunFolder(root)
    with folder.locked():
        remove_leftovers(root)
        setting = Setting(root, sweep, device, data_files(sweep, root))
        make_plan(sweep, stamp(device, renderer, {}))  # refuse a bad sweep before anything is collected
        _run_jobs(setting, executor, board, [CollectJob(t) for t in sweep.tasks if _needs_data(setting, t)])
        plan = make_plan(sweep, stamp(device, renderer, data_checksums(setting)))
        _write_once(root / "sweep.json", sweep.model_dump_json(indent=1) + "\n")
        jobs = pending_jobs(setting, plan)
        state = _run_jobs(setting, executor, board, jobs)
        shutil.rmtree(folder.progress, ignore_errors=True)
    waiting = sum(isinstance(job, RolloutJob) for job in jobs)
    return Summary(plan, len(plan.cells) - waiting, state.ran, tuple(state.failed.items()))


def pending_jobs(setting: Setting, plan: Plan) -> list[Job]:
    """What is left to do: fits first (in the sweep's order), then cells, then measurements."""
    fits = [FitJob(c) for c in plan.checkpoints if c.trainable and not _has_checkpoint(setting, c)]
    cells = [RolloutJob(c) for c in plan.cells if not results.is_finished(setting.root, c.key)]
    measures = [
        MeasureJob(c, setting.sweep.measure)
        for c in _measured(plan)
        if not (setting.root / "measures" / f"{c.key}.json").is_file()
    ]
    return [*fits, *cells, *measures]


def _measured(plan: Plan) -> Iterable[Checkpoint]:
    """Only trained policies have a decision time and a memory that the tables are about."""
    return (c for c in plan.checkpoints if c.trainable)


def _run_jobs(setting: Setting, executor: Executor, board: Board, jobs: list[Job]) -> _State:
    state = _State(waiting=list(jobs))
    board.begin(jobs)
    while state.waiting or state.running:
        _start_ready(setting, executor, board, state)
        for outcome in executor.collect(timeout=0.5):
            _settle(board, state, outcome)
        _watch(setting, executor, board, state)
    board.end()
    return state


def _start_ready(setting: Setting, executor: Executor, board: Board, state: _State) -> None:
    """Start waiting jobs, in order, while threads are free. Measurements run alone, so that nothing disturbs them."""
    for job in list(state.waiting):
        if _blocked(job, state):
            continue
        used = sum(_threads(setting, executor, j) for j in state.running.values())
        if used and used + _threads(setting, executor, job) > executor.slots:
            continue
        state.waiting.remove(job)
        state.running[job.key] = job
        board.started(job)
        executor.submit(setting, job)


def _threads(setting: Setting, executor: Executor, job: Job) -> int:
    match job:
        case FitJob():
            return setting.sweep.train_threads
        case RolloutJob():
            return setting.sweep.rollout_threads
        case MeasureJob():
            return executor.slots
        case CollectJob():
            return 1


def _blocked(job: Job, state: _State) -> bool:
    """Whether `job` must wait for its checkpoint, or, a measurement, for all other work."""
    unfinished = [*state.waiting, *state.running.values()]
    if isinstance(job, MeasureJob):
        return any(not isinstance(other, MeasureJob) for other in unfinished)
    if isinstance(job, RolloutJob):
        key = job.cell.checkpoint.key
        return any(isinstance(other, FitJob) and other.checkpoint.key == key for other in unfinished)
    return False


def _settle(board: Board, state: _State, outcome: Outcome) -> None:
    job = state.running.pop(outcome.job.key)
    if outcome.died and state.deaths.get(job.key, 0) < WORKER_DEATHS:
        state.deaths[job.key] = state.deaths.get(job.key, 0) + 1
        board.retried(job)
        state.waiting.insert(0, job)
    elif outcome.died or outcome.error is not None:
        _fail(board, state, job, _reason(outcome))
    else:
        state.ran += isinstance(job, RolloutJob)
        board.finished(job)


def _fail(board: Board, state: _State, job: Job, reason: str) -> None:
    state.failed[job.name] = reason
    board.failed(job, reason)
    if isinstance(job, CollectJob):
        raise AltbenchError(f"{job.name}: {reason}")
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
        case MeasureJob(checkpoint=checkpoint) | FitJob(checkpoint=checkpoint):
            return checkpoint.key
        case CollectJob():
            return ""


def _watch(setting: Setting, executor: Executor, board: Board, state: _State) -> None:
    """Show how far the running jobs are; replace a worker whose policy hangs where Python cannot interrupt it."""
    for job in list(state.running.values()):
        beat = read_heartbeat(setting.folder, job)
        board.progressed(job, beat)
        limit = setting.sweep.decision_timeout_s + HANG_GRACE_S
        if isinstance(job, RolloutJob) and beat and time.time() - beat["time"] > limit:
            executor.kill(job)
            state.running.pop(job.key)
            state.waiting.insert(0, replace(job, hung=(*job.hung, int(beat["done"]))))
            (setting.folder.progress / f"{job.key}.json").unlink(missing_ok=True)
            board.retried(job)


def _reason(outcome: Outcome) -> str:
    if outcome.died:
        return f"its worker died {WORKER_DEATHS + 1} times"
    text = " ".join(str(outcome.error).split())
    known = isinstance(outcome.error, AltbenchError)
    return text if known else f"{type(outcome.error).__name__}: {text}"


def data_files(sweep: SweepSpec, root: Path) -> dict[str, Path]:
    """Each task's demonstrations: the sweep's own file, or where the run collects them."""
    given = sweep.demonstrations.file
    if given and len(sweep.tasks) > 1:
        raise AltbenchError(f"demonstrations.file serves one task, the sweep has {len(sweep.tasks)}")
    return {task: Path(given) if given else RunFolder(root).demonstrations(task) for task in sweep.tasks}


def _needs_data(setting: Setting, task: str) -> bool:
    """Whether demonstrations must be collected: the run's own file is missing, or holds too few."""
    from altbench.dataset import info

    if setting.sweep.demonstrations.file:
        return False
    path = setting.data[task]
    return not path.exists() or len(info(path).lengths) < setting.sweep.demonstrations.n


def data_checksums(setting: Setting) -> dict[tuple[str, int], str]:
    """(task, N) -> checksum of the N demonstrations that policies are fitted to."""
    from altbench.dataset import digest, read, subset

    found = {}
    for task, path in setting.data.items():
        dataset, grid = read(path, task), registry.task(task).grid_size
        for n in sorted({n for entry in setting.sweep.policies for n in entry.n}):
            found[task, n] = digest(dataset.meta, subset(dataset.demonstrations, n, grid, setting.sweep.seed))
    return found


def _write_once(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _has_checkpoint(setting: Setting, checkpoint: Checkpoint) -> bool:
    return (setting.folder.checkpoints / checkpoint.folder / "policy.toml").is_file()
