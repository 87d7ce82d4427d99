"""A sweep, run: plan the cells, fit, roll out, record, resume. Nothing that is finished
is done again.

`run` does all that `altbench run` does, for sweeps that are made in Python. Several
sweeps may share a folder: demonstrations, checkpoints, cells and measurements that they
have in common are made once.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from rich.console import Console

from altbench.core.errors import AltbenchError
from altbench.report import outputs
from altbench.report.opened import OpenedRun
from altbench.report.replication import write_replication
from altbench.results import cells as cells_module
from altbench.results import history, measures
from altbench.results.checked import Checked, check_key, load_checked
from altbench.results.folder import RunFolder, remove_leftovers
from altbench.results.run import Run
from altbench.results.takeover import older_cells
from altbench.results.unchecked import warn_of_unchecked
from altbench.rollout.records import NOT_COUNTED, OF_THE_POLICY
from altbench.runner import contract, data_checks
from altbench.runner.estimate import longest_first
from altbench.runner.executors import Executor, make_executor
from altbench.runner.jobs import CheckJob, CollectJob, FitJob, Job, MeasureJob, RolloutJob
from altbench.runner.progress import Board
from altbench.runner.scheduler import Ended, Scheduler
from altbench.sweeps.plan import Cell, Checkpoint, Plan
from altbench.sweeps.replicates import folder_of, replicates, require_one_data_set
from altbench.sweeps.spec import SweepSpec
from altbench.system.console import make_console, say
from altbench.system.devices import require_renderer
from altbench.system.fingerprint import usable_cores
from altbench.system.workers import refuse_second_import

if TYPE_CHECKING:
    from altbench.report.drawing.layout import Failures


@dataclass(frozen=True)
class Summary(OpenedRun):
    """A run as it was left, with its records and tables for scripts.

    `root`: where its tables are. `found`: cells that were finished before. `ran`: cells
    run now. `failed`: jobs and figures that failed, each with the reason; `undrawn`: those
    of them that are figures or pages.
    """

    run: Run
    found: int
    ran: int
    failed: tuple[tuple[str, str], ...]
    undrawn: tuple[tuple[str, str], ...] = ()

    @property
    def played(self) -> bool:
        """Whether all was played and measured; something may be undrawn."""
        return len(self.failed) == len(self.undrawn)

    def episodes(self) -> pd.DataFrame:
        """Return a row per episode of the sweep's own cells."""
        return self.run.episodes()

    def decisions(self) -> pd.DataFrame:
        """Return a row per decision of the sweep's own cells."""
        return self.run.decisions()


def run(
    sweep: SweepSpec,
    root: Path | str,
    workers: int | None = None,
    console: Console | None = None,
    out: Path | str | None = None,
    *,
    executor: Executor | None = None,
) -> Summary:
    """Run `sweep` under `root` and write what a reader needs of it into `out`.

    `workers`: processes; None: one per core; 0: none, the jobs run in this one.
    `console`: where progress is shown; None: nowhere. `out`: where tables, figures and
    flat records go, but no cells and no checkpoints; None: into `root`. If sweeps share
    `root`, give each an `out` of its own, since the tables of each hold its own cells
    alone. `executor`: in place of `workers`; the caller closes it.

    AltbenchError if the sweep is refused. What failed later is in the summary.
    KeyboardInterrupt leaves everything to be continued by the same call.
    """
    refuse_second_import("altbench.run")
    require_one_data_set(sweep, "altbench.run_replicates runs them all")
    # Absolute, since a policy may change the working directory.
    root, out = Path(root).absolute(), None if out is None else Path(out).absolute()
    renderer, shown = require_renderer(), console or make_console(quiet=True)
    with RunFolder(root).locked():
        with _opened(executor, workers) as chosen:
            summary = complete(Run.begin(root, sweep, renderer), chosen, Board(shown, chosen.threads))
        undrawn = draw(summary.run, out)
    return replace(summary, root=out or root, failed=(*summary.failed, *undrawn), undrawn=undrawn)


def draw(run: Run, out: Path | None = None) -> Failures:
    """Write a run's tables, figures and page into `out` (None: its folder), for a caller
    that holds its folder. Return what could not be drawn.
    """
    from altbench.page import write_page_of_run  # it loads matplotlib, which a plan does not need

    undrawn = outputs.write(run, out)
    if out is not None:
        history.keep(run.sweep, out)
    return (*undrawn, *write_page_of_run(out or run.root)) if run.recorded else undrawn


def run_replicates(
    sweep: SweepSpec, root: Path | str, workers: int | None = None, console: Console | None = None
) -> dict[int, Summary]:
    """Run a sweep on each of its data seeds, and write the table of how they differ.

    Return data seed -> summary. Each data set is a run of its own, in `root`/data3 for
    seed 3; the table is `root`/tables/replication. Arguments and errors as `run`.
    """
    root = Path(root).absolute()
    summaries = {}
    for seed, one in replicates(sweep).items():
        summaries[seed] = run(one, folder_of(root, seed), workers, console)
        history.keep(sweep, root)
        write_replication(root, sweep.demonstrations.seeds)
    return summaries


@contextmanager
def _opened(executor: Executor | None, workers: int | None) -> Iterator[Executor]:
    """Give the caller's executor, or one of `workers` processes that ends with the
    block.
    """
    if executor is not None:
        yield executor
        return
    own = make_executor(usable_cores() if workers is None else workers)
    try:
        yield own
    finally:
        own.close()


def complete(begun: Run, executor: Executor, board: Board) -> Summary:
    """Do what is not finished of a run, for a caller that holds its folder
    (`RunFolder.locked`).

    `begun`: as `Run.begin`. Writes no tables and no figures. Errors as `run`.
    """
    run = prepare(begun, executor, board)
    jobs = pending_jobs(run)
    ended = Scheduler(run, executor, board).finish(jobs)
    return summarise(run, ended, _cells(jobs), board)


def prepare(begun: Run, executor: Executor, board: Board) -> Run:
    """Check the run and collect its demonstrations: all that comes before the first
    fit. Return it planned with them.

    A task whose demonstrations cannot be collected stops no other (`Run.uncollected`);
    AltbenchError if no task has them. The caller holds its folder. Errors as `run`.
    """
    folder = begun.folder
    remove_leftovers(folder.root)
    warn_of_unchecked(folder.root)
    # Beats of an earlier run would look like those of workers that hang.
    shutil.rmtree(folder.progress, ignore_errors=True)
    missing = [task for task in begun.sweep.tasks if needs_data(begun, task)]
    data_checks.check_files(begun, [task for task in begun.sweep.tasks if task not in missing])
    data_checks.check_collectable(begun, missing)
    _check_policies(begun, executor, board)
    collecting = [CollectJob(task) for task in missing]
    failed = Scheduler(begun, executor, board).finish(collecting).failed
    uncollected = {job.task: failed[job.name] for job in collecting if job.name in failed}
    if uncollected and set(uncollected) == set(begun.data):
        task, reason = next(iter(uncollected.items()))
        raise AltbenchError(f"{CollectJob(task).name}: {reason}")
    run = begun.without_data_of(uncollected) if uncollected else begun.with_data()
    data_checks.check_files(run, [task for task in missing if task not in uncollected])
    history.keep(run.sweep, run.root)
    cells_module.divide(run.root, len(run.plan.cells))
    return run


def summarise(run: Run, ended: Ended, pending: int, board: Board) -> Summary:
    """Return how a run whose jobs have `ended` was left; `pending`: cells that it had
    to run.
    """
    for job in (job for job in ended.finished if isinstance(job, FitJob)):
        _tell(board, job.checkpoint.label, load_checked(run.root, job.checkpoint.key))
    shutil.rmtree(run.folder.progress, ignore_errors=True)
    unplayed = [(name, why) for name, why in _infra_errors(run) if name not in ended.failed]
    uncollected = {CollectJob(task).name: reason for task, reason in run.uncollected.items()}
    ended_badly = {**uncollected, **ended.failed}
    failed = (*ended_badly.items(), *unplayed, *_hopeless_rows(run), *_missing(run, ended_badly))
    return Summary(run.root, run, len(_obtainable(run).cells) - pending, _cells(ended.finished), failed)


def _check_policies(begun: Run, executor: Executor, board: Board) -> None:
    """Check the policies that learn nothing before any other work.

    Raise AltbenchError if some break their contract. One whose worker dies or hangs is
    not refused: its episodes record that.
    """
    cells = {check_key(c): c for c in begun.plan.cells if not c.checkpoint.trainable}
    cells = {key: c for key, c in cells.items() if not contract.is_own(c.checkpoint)}
    before = {key: load_checked(begun.root, key) for key in cells}
    jobs = [CheckJob(c) for key, c in cells.items() if (found := before[key]) is None or found.fault]
    if not jobs:
        return
    Scheduler(begun, executor, board).finish(jobs)
    found_now = [(job.cell.label, load_checked(begun.root, check_key(job.cell))) for job in jobs]
    contract.refuse([(label, found.fault) for label, found in found_now if found and found.fault])
    for label, found in found_now:
        _tell(board, label, found)


def _tell(board: Board, label: str, found: Checked | None) -> None:
    for note in found.notes if found else ():
        say(board.console, ("warning", "yellow"), f" policy {label!r}: {note}")


def _cells(jobs: Iterable[Job]) -> int:
    return sum(job.kind == RolloutJob.kind for job in jobs)


def pending_jobs(run: Run) -> list[Job]:
    """Return what is left to do: fits first, the longest at the head, then cells in the
    sweep's order, then measurements.
    """
    plan = _obtainable(run)
    fits = [FitJob(c) for c in longest_first(c for c in plan.checkpoints if needs_fit(run, c))]
    unfinished = [c for c in plan.cells if not cells_module.is_finished(run.root, c.key)]
    older = older_cells(run.root, unfinished, {cell.key for cell in run.plan.cells})
    cells = [RolloutJob(c, older=older.get(c.key, ())) for c in unfinished]
    unmeasured = [m for m in plan.measurements if not measures.is_measured(run.root, m.key)]
    return [*fits, *cells, *(MeasureJob(m) for m in unmeasured)]


def _obtainable(run: Run) -> Plan:
    """Return the run's plan without the tasks whose demonstrations could not be collected."""
    plan, without = run.plan, run.uncollected
    return replace(
        plan,
        checkpoints=tuple(c for c in plan.checkpoints if c.task not in without),
        cells=tuple(c for c in plan.cells if c.checkpoint.task not in without),
        measurements=tuple(m for m in plan.measurements if m.checkpoint.task not in without),
    )


def needs_fit(run: Run, point: Checkpoint) -> bool:
    """Return whether a checkpoint must be fitted, or its policy checked."""
    return point.trainable and (contract.is_unchecked(run, point) or not run.is_fitted(point))


def _infra_errors(run: Run) -> list[tuple[str, str]]:
    """Return the cells with episodes that could not be played, for reasons other than
    the policy.
    """
    lost = [(cell.name, run.recorded.lost(cell.key)) for cell in run.plan.cells if cell.key in run.recorded]
    return [(name, f"{len(why)} episodes could not be played: {why[0]}") for name, why in lost if why]


def _hopeless_rows(run: Run) -> list[tuple[str, str]]:
    """Return the rows of the tables with no episode that ended without an error of the
    policy's.
    """
    rows: dict[str, list[Cell]] = {}
    for cell in run.plan.cells:
        if cell.key in run.recorded:
            rows.setdefault(RolloutJob(cell).row, []).append(cell)
    failed = {row: own for row, own in rows.items() if all(run.recorded.is_faulty(cell.key) for cell in own)}
    found = {
        row: [(cell.name, *ending) for cell in own for ending in run.recorded.endings(cell.key)]
        for row, own in failed.items()
    }
    return [(row, _all_failed(run, own)) for row, own in found.items() if _is_hopeless(status for _, status, _ in own)]


def _is_hopeless(statuses: Iterable[str]) -> bool:
    counted = [status for status in statuses if status not in NOT_COUNTED]
    return bool(counted) and all(status in OF_THE_POLICY for status in counted)


def _all_failed(run: Run, found: list[tuple[str, str, str]]) -> str:
    """Say that all episodes of a row failed, with the first message and its log."""
    cell, status, message = next(one for one in found if one[1] in OF_THE_POLICY)
    count = sum(status in OF_THE_POLICY for _, status, _ in found)
    return (
        f"all {count} episodes ended by the policy's fault; the first: {status}, {message}; see {run.folder.log(cell)}"
    )


def _missing(run: Run, failed: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what the plan asks for and no file holds, though no job failed.

    So a worker that wrote elsewhere, or a file that was deleted meanwhile, never looks
    like a finished run.
    """
    plan = _obtainable(run)
    lost = [(c.name, cells_module.cell_path(run.root, c.key)) for c in plan.cells if c.key not in run.recorded]
    lost += [
        (f"{m.name}/measure", measures.measure_path(run.root, m.key))
        for m in plan.measurements
        if not measures.is_measured(run.root, m.key)
    ]
    return [
        (name, f"expected its record in {path}, which is missing or damaged; run the sweep again")
        for name, path in lost
        if name not in failed
    ]


def needs_data(run: Run, task: str) -> bool:
    """Return whether demonstrations must be collected: something needs them, and the
    run's own file is missing, or holds too few.
    """
    from altbench.dataset.files import info

    if run.sweep.demonstrations.file or task not in run.data:
        return False
    path = run.data[task]
    return not path.exists() or len(info(path).lengths) < run.sweep.demonstrations.n
