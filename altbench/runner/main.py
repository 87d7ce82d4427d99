"""A sweep, run: plan the cells, fit, roll out, record, resume. Nothing that is finished is done again.

`run` does all that `altbench run` does, for sweeps that are made in Python; `run_sweep` leaves executor, progress display
and tables to the caller. Several sweeps may share a folder: demonstrations, checkpoints, cells and measurements that they
have in common are made once.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from altbench.core.errors import AltbenchError
from altbench.report import outputs
from altbench.results import cells as cells_module
from altbench.results import history, measures
from altbench.results.checkpoints import find_checkpoint
from altbench.results.folder import RunFolder, remove_leftovers
from altbench.results.frames import Recorded
from altbench.runner.context import Setting, data_checksums, data_files
from altbench.runner.executors import Executor, make_executor
from altbench.runner.jobs import CollectJob, FitJob, Job, MeasureJob, RolloutJob
from altbench.runner.progress import Board
from altbench.runner.scheduler import run_jobs
from altbench.sweeps.plan import Plan, make_plan
from altbench.sweeps.rows import provenance_of
from altbench.sweeps.spec import SweepSpec
from altbench.system.devices import require_renderer, resolve_device
from altbench.system.fingerprint import usable_cores


@dataclass(frozen=True)
class Summary:
    """What a run did: cells found finished, cells run now, and the jobs that failed with their reasons.

    `recorded`: the plan's cells as they then lay under `root`, for any analysis.
    """

    root: Path
    plan: Plan
    found: int
    ran: int
    failed: tuple[tuple[str, str], ...]
    recorded: Recorded


def run(
    sweep: SweepSpec,
    root: Path | str,
    workers: int | None = None,
    console: Console | None = None,
    out: Path | str | None = None,
) -> Summary:
    """Run `sweep` under `root` and write what a reader wants of it (not cells and checkpoints) into `out` (None: `root`).

    `workers`: processes; None: one per core; 0: none, in this one. `console`: where progress is shown (None: nowhere).
    Of sweeps that share `root`, each one's tables hold its own cells alone, so that each wants an `out` of its own.
    AltbenchError where the sweep is refused; what failed later is in the summary; KeyboardInterrupt leaves everything to
    be continued by the same call.
    """
    root, out = Path(root), None if out is None else Path(out)
    renderer = require_renderer()
    threads = usable_cores() if workers is None else workers
    executor, board = make_executor(threads), Board(console or Console(quiet=True), threads)
    with RunFolder(root).locked():
        try:
            summary = run_held(sweep, root, executor, board, resolve_device(sweep.device), renderer)
        finally:
            board.end()
            executor.close()
        outputs.write(root, summary.plan, renderer, summary.recorded, out)
    if out is not None:
        history.keep(summary.plan.sweep, out)
    return summary


def run_sweep(sweep: SweepSpec, root: Path, executor: Executor, board: Board, device: str, renderer: str) -> Summary:
    """Run everything of `sweep` that is not finished under `root`; KeyboardInterrupt leaves it to be continued."""
    with RunFolder(root).locked():
        return run_held(sweep, root, executor, board, device, renderer)


def run_held(sweep: SweepSpec, root: Path, executor: Executor, board: Board, device: str, renderer: str) -> Summary:
    """As `run_sweep`, for a caller that holds `root` (`RunFolder.locked`) for longer than one sweep."""
    progress, sweep = RunFolder(root).progress, history.continue_sweep(sweep, root)
    remove_leftovers(root)
    shutil.rmtree(progress, ignore_errors=True)
    setting = Setting(root, sweep, device, data_files(sweep, root))
    make_plan(sweep, provenance_of(device, renderer, {}))  # refuse a bad sweep before anything is collected
    missing = [CollectJob(task) for task in sweep.tasks if _needs_data(setting, task)]
    for name, reason in run_jobs(setting, executor, board, missing).failed.items():
        raise AltbenchError(f"{name}: {reason}")
    plan = make_plan(sweep, provenance_of(device, renderer, data_checksums(setting)))
    history.keep(plan.sweep, root)
    jobs = pending_jobs(setting, plan)
    state = run_jobs(setting, executor, board, jobs)
    shutil.rmtree(progress, ignore_errors=True)
    waiting = sum(isinstance(job, RolloutJob) for job in jobs)
    recorded = outputs.recorded_cells(root, plan)
    failed = [*state.failed.items(), *_infra_errors(plan, recorded)]
    return Summary(root, plan, len(plan.cells) - waiting, state.ran, tuple(failed), recorded)


def pending_jobs(setting: Setting, plan: Plan) -> list[Job]:
    """What is left to do: fits first (in the sweep's order), then cells, then measurements of trained policies."""
    fitted = setting.folder.checkpoints
    fits = [FitJob(c) for c in plan.checkpoints if c.trainable and not find_checkpoint(fitted, c.folder)]
    cells = [RolloutJob(c) for c in plan.cells if not cells_module.is_finished(setting.root, c.key)]
    unmeasured = [m for m in plan.measurements if not measures.measure_path(setting.root, m.key).is_file()]
    return [*fits, *cells, *(MeasureJob(m) for m in unmeasured)]


def _infra_errors(plan: Plan, recorded: Recorded) -> list[tuple[str, str]]:
    """Cells with episodes that could not be played, for reasons that are no policy's."""
    lost = [(cell.name, recorded.lost(cell.key)) for cell in plan.cells if cell.key in recorded]
    return [(name, f"{len(why)} episodes could not be played: {why[0]}") for name, why in lost if why]


def _needs_data(setting: Setting, task: str) -> bool:
    """Whether demonstrations must be collected: the run's own file is missing, or holds too few."""
    from altbench.dataset.files import info

    if setting.sweep.demonstrations.file:
        return False
    path = setting.data[task]
    return not path.exists() or len(info(path).lengths) < setting.sweep.demonstrations.n
