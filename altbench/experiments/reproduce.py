"""Running experiments in their shared run folder, and reporting on what it holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from rich.console import Console

from altbench.core.errors import AltbenchError
from altbench.core.words import count
from altbench.experiments.shared.available import only_available
from altbench.experiments.shared.experiment import Experiment
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.part import WHOLE, Part
from altbench.experiments.shared.report import checksums, write_report
from altbench.experiments.shared.sweeps import Preset
from altbench.report.drawing.data_sets import write_figure
from altbench.report.replication import STEM, replication_table
from altbench.report.table import write_table
from altbench.results.demonstrations import DemonstrationReader
from altbench.results.folder import RunFolder, remove_leftovers
from altbench.results.run import Run
from altbench.runner.dry_run import Work, show_cost, show_plan
from altbench.runner.executors import Executor, make_executor
from altbench.runner.main import complete
from altbench.runner.progress import Board
from altbench.sweeps.replicates import data_seeds_in, folder_of, with_data_seed
from altbench.system import fingerprint
from altbench.system.console import say
from altbench.system.files import check_folder

RUN = "run"


def reproduce(
    experiments: Sequence[Experiment],
    preset: Preset,
    out: Path,
    workers: int,
    renderer: str,
    console: Console,
    part: Part = WHOLE,
) -> bool:
    """Run `part` of each of `experiments`, and report on all of it; return whether anything failed for good.

    KeyboardInterrupt ends it cleanly. Raise AltbenchError, and write nothing, if
    another process is at work in the run folder.
    """
    with RunFolder(out / RUN).locked("see what is there with `altbench experiments report`, or choose another --out"):
        remove_leftovers(out)
        failed, executor = False, make_executor(workers)
        try:
            for experiment in experiments:
                failed |= _reproduce_one(experiment, preset, out, executor, renderer, console, part)
        finally:
            executor.close()
    return failed


def reproduce_replicates(
    experiments: Sequence[Experiment],
    preset: Preset,
    out: Path,
    data_seeds: Sequence[int],
    workers: int,
    renderer: str,
    console: Console,
    part: Part = WHOLE,
) -> bool:
    """Run and report on `experiments` for each data seed, in `out`/data3 for seed 3; return whether anything failed.

    Then write how the data sets differ, as a table and a figure `replication` in each
    experiment's folder under `out`. Errors as `reproduce`.
    """
    failed = False
    for chosen, folder in _data_sets(experiments, out, data_seeds, console):
        failed |= reproduce(chosen, preset, folder, workers, renderer, console, part)
        for experiment in experiments:
            write_spread(experiment, preset, out, data_seeds, renderer, console)
    return failed


def report_replicates(
    experiments: Sequence[Experiment],
    preset: Preset,
    out: Path,
    data_seeds: Sequence[int],
    renderer: str,
    console: Console,
) -> None:
    """Write what `reproduce_replicates` writes, from the records that exist, and run nothing."""
    for chosen, folder in _data_sets(experiments, out, data_seeds, console):
        for experiment in chosen:
            report(experiment, preset, folder, renderer, console)
    for experiment in experiments:
        write_spread(experiment, preset, out, data_seeds, renderer, console)


def _data_sets(
    experiments: Sequence[Experiment], out: Path, data_seeds: Sequence[int], console: Console
) -> Iterator[tuple[list[Experiment], Path]]:
    """Name each data seed, then yield the experiments on its data set, and its folder."""
    for seed in data_seeds:
        say(console, (f"data seed {seed}", "bold"))
        yield [on_data_set(experiment, seed) for experiment in experiments], folder_of(out, seed)


def on_data_set(experiment: Experiment, seed: int) -> Experiment:
    """Return `experiment` with every sweep on the data set `seed`."""
    return replace(experiment, sweeps=lambda preset: [with_data_seed(s, seed) for s in experiment.sweeps(preset)])


def only_part(experiment: Experiment, part: Part) -> Experiment:
    """Return `experiment` with `part` of every sweep: what is played now."""
    return replace(experiment, sweeps=lambda preset: part.of(experiment.sweeps(preset)))


def write_spread(
    experiment: Experiment, preset: Preset, out: Path, data_seeds: Sequence[int], renderer: str, console: Console
) -> None:
    """Write the table and the figure of an experiment's data sets under `out`, as far as they have been played.

    They are of all data sets there, `data_seeds` and those of before.
    """
    seeds = sorted({*data_seeds, *data_seeds_in(out)})
    runs = {s: open_run(on_data_set(experiment, s), preset, folder_of(out, s), renderer) for s in seeds}
    played = [run.episodes().assign(data_seed=seed) for seed, run in runs.items() if run.told]
    if played:
        made_by = fingerprint.collect(renderer=renderer, data=None)
        frame = pd.concat(played, ignore_index=True)
        written = write_table(replication_table(frame), out / experiment.folder, STEM, made_by)
        write_figure(frame, out / experiment.folder, made_by)
        say(console, f"how the data sets differ: {written[1]}", wrap=False)


def _reproduce_one(
    experiment: Experiment,
    preset: Preset,
    out: Path,
    executor: Executor,
    renderer: str,
    console: Console,
    part: Part,
) -> bool:
    say(console, (experiment.id, "bold"), f" {experiment.title}")
    played = only_part(experiment, part)
    if part != WHOLE and not played.sweeps(preset):
        say(console, "it has none of the rows and splits that are asked for")
        return False
    try:
        failed = run_sweeps(played, preset, out, executor, renderer, console)
        run = open_run(experiment, preset, out, renderer)
        experiment.compute(run, lambda line: say(console, line))
    except AltbenchError as error:
        say(console, ("failed", "red"), f" {experiment.id}: {error}")
        failed = True
    report(experiment, preset, out, renderer, console)
    return failed


def run_sweeps(
    experiment: Experiment, preset: Preset, out: Path, executor: Executor, renderer: str, console: Console
) -> bool:
    """Run what is not finished of an experiment's sweeps, in a locked folder.

    Return whether any job failed for good.
    """
    failed = False
    for wanted in experiment.sweeps(preset):
        sweep, _ = only_available(wanted)
        if sweep is None:
            continue
        summary = complete(Run.begin(out / RUN, sweep, renderer), executor, Board(console, executor.threads))
        for job, reason in summary.failed:
            say(console, ("failed", "red"), f" {job}: {reason}")
        failed |= bool(summary.failed)
    return failed


def report(experiment: Experiment, preset: Preset, out: Path, renderer: str, console: Console) -> Path:
    """Write an experiment's report from the records that exist; return its path."""
    run = open_run(experiment, preset, out, renderer)
    made_by = fingerprint.collect(renderer=renderer if run.runs else None, data=checksums(run))
    found = experiment.report(run)
    path = write_report(experiment, found, run, out, made_by)
    missing = len(run.missing) + len(found.missing)
    note = (" (", (f"{count(missing, 'piece of work', 'pieces of work')} missing", "yellow"), ")") if missing else ()
    say(console, str(path), *note, wrap=False)
    return path


def open_run(experiment: Experiment, preset: Preset, out: Path, renderer: str) -> ExperimentRun:
    """Return what exists of an experiment under `out`.

    Rows that this installation cannot make are left out and named.
    """
    root = out / RUN
    runs: list[Run] = []
    reader = DemonstrationReader()  # one for all, so that it bounds what is in memory
    left_out: list[str] = []
    for wanted in experiment.sweeps(preset):
        sweep, reasons = only_available(wanted)
        left_out += reasons
        if sweep is not None:
            runs.append(replace(Run.open(root, sweep, renderer), reader=reader))
    own = root / "experiments" / experiment.id
    reasons = tuple(dict.fromkeys(left_out))
    return ExperimentRun(root, own, tuple(runs), reasons, preset, out / experiment.folder)


def show_replicated_plans(
    experiments: Sequence[Experiment],
    preset: Preset,
    out: Path,
    data_seeds: Sequence[int],
    renderer: str,
    console: Console,
    workers: int = 1,
) -> None:
    """Print what `show_plans` prints, for each data seed."""
    for chosen, folder in _data_sets(experiments, out, data_seeds, console):
        show_plans(chosen, preset, folder, renderer, console, workers)


def show_plans(
    experiments: Sequence[Experiment], preset: Preset, out: Path, renderer: str, console: Console, workers: int = 1
) -> None:
    """Print what each of `experiments` would run, what of it is done, and how long the
    rest takes with `workers` processes.

    Work that several share is listed and counted once.
    """
    check_folder(out / RUN)
    work = Work()
    for experiment in experiments:
        say(console, (experiment.id, "bold"), f" {experiment.title}")
        run = open_run(experiment, preset, out, renderer)
        own = Work()
        for one in run.runs:
            before = work
            work = show_plan(console, one, before)
            own = own.and_also(work.beyond(before))
        if len(experiments) > 1:
            show_cost(console, own, workers)
        for reason in run.left_out:
            say(console, ("left out", "yellow"), f" {reason}")
    say(console, f"in all: {work.summary()}")
    show_cost(console, work, workers)
