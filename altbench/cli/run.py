"""The work of `altbench run`, `video`, `redraw` and `bench policies`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from altbench.core.errors import AltbenchError, ConfigError
from altbench.results import history
from altbench.sweeps.kept import load_kept
from altbench.sweeps.replicates import folder_of, replicates
from altbench.sweeps.spec import SweepSpec, load_sweep
from altbench.system.console import debugging, make_console, one_line, say, show
from altbench.system.devices import require_renderer, resolve_device
from altbench.system.fingerprint import usable_cores

if TYPE_CHECKING:
    from altbench.engines.start import Engine
    from altbench.report.drawing.layout import Failures
    from altbench.results.run import Run


def load(name: str) -> SweepSpec:
    """Return a built-in sweep by its name, or one from a TOML file or a run's sweep.json."""
    return load_kept(Path(name)) if name.endswith(".json") else load_sweep(name)


def check_policies(names: Sequence[str], sweep: SweepSpec) -> None:
    """Raise ConfigError for a folder among the further policies that the sweep cannot play."""
    from altbench.results.targets import check_playable

    check_playable(names, sweep.tasks)


def choose_engine(name: str, settings: Sequence[str], workers: int | None, mixed: bool) -> Engine:
    """Return the engine that the options name; ConfigError if it does not take them."""
    from altbench.engines.settings import check_engine
    from altbench.engines.start import Engine

    engine = Engine(check_engine(name), tuple(settings), workers, mixed)
    engine.checked()
    return engine


def choose_sink(name: str) -> str:
    """Return the sink's name; an error if it is unknown, or its package missing, before any work."""
    from altbench.sinks.sink import check_sink

    return check_sink(name)


def run(sweep: SweepSpec, out: Path | None, engine: Engine, dry_run: bool, named: str = "", sink: str = "none") -> None:
    """Run `sweep` into `out`, or list its work for a dry run.

    None for `out` is results/NAME. Another sweep that was run there is named. `named`:
    the sweep that was asked for, if options changed it into `sweep`. `sink`: where curves
    and tables also go.
    """
    console = make_console()
    root = out or Path("results") / sweep.name
    if out is None:
        _name_original(sweep, named, console)
    _name_others(sweep, root, console)
    parts = {folder_of(root, seed): one for seed, one in replicates(sweep).items()} or {root: sweep}
    if dry_run:
        for folder, one in parts.items():
            show_plan(one, folder, engine.workers, console)
            _show_script(engine, one, folder)
        return
    failed = False
    for folder, one in parts.items():
        failed |= _run(one, folder, engine, console, sink)
        _replicate(sweep, root, console)
    raise typer.Exit(1 if failed else 0)


def _replicate(sweep: SweepSpec, root: Path, console: Console) -> None:
    """Write and show the table of the data sets that have been run so far, if there are several."""
    if not sweep.demonstrations.seeds:
        return
    from altbench.report.replication import write_replication

    history.keep(sweep, root)
    written = write_replication(root, sweep.demonstrations.seeds)
    if written is not None:
        table, files = written
        show(console, table.blocks[0].to_rich(table.title))
        say(console, f"how the data sets differ: {files[1]}", wrap=False)


def _name_original(sweep: SweepSpec, named: str, console: Console) -> None:
    """Say how a changed sweep takes over what the original has played."""
    original = Path("results") / named
    if named not in ("", sweep.name) and (original / history.LAST).is_file():
        text = f" with --out {original} this takes over what is done there, demonstrations and episodes too"
        say(console, ("note", "yellow"), text)


def _name_others(sweep: SweepSpec, root: Path, console: Console) -> None:
    """Say which other sweep's tables a run into `root` replaces, and how to get them back."""
    if not (root / history.LAST).is_file():
        return
    try:
        last = history.load(root)[0]
    except AltbenchError:  # damaged: the run writes it anew
        return
    if last.name != sweep.name:
        say(
            console,
            ("note", "yellow"),
            f" {root} holds the sweep {last.name!r}: work that both share is done once. Tables and figures become those "
            f"of {sweep.name!r}; `altbench run` with the sweep {last.name!r} and the same --out writes its own again.",
        )


def _show_script(engine: Engine, sweep: SweepSpec, root: Path) -> None:
    """Print the script that SLURM would get, if the engine is SLURM."""
    from altbench.engines.settings import SlurmSettings

    settings = engine.checked()
    if isinstance(settings, SlurmSettings):
        from altbench.engines.slurm_engine import script

        typer.echo(script(settings, sweep, root))


def _run(sweep: SweepSpec, root: Path, engine: Engine, console: Console, sink: str) -> bool:
    """Run all of the sweep and show its tables; return whether anything failed."""
    from altbench.engines.start import run_on
    from altbench.report import outputs

    require_renderer()  # before any work
    say(console, (sweep.name, "bold"), f" {sweep.description}")
    say(console, f"writing to {root}", wrap=False)
    try:
        summary = run_on(engine, sweep, root, console)
    except KeyboardInterrupt:
        say(console, "\nstopped; the same command goes on where this stopped")
        raise typer.Exit(130) from None
    outputs.show(summary.run, console)
    line = f"{summary.ran} cells run, {summary.found} found finished; everything is in {root}"
    say(console, line, wrap=False)
    for job, reason in summary.failed:
        say(console, ("failed", "red"), f" {job}: {reason}")
    _log(summary.run, root, sink, console)
    return bool(summary.failed)


def _log(run: Run, root: Path, sink: str, console: Console) -> None:
    """Send the run to a sink. One that fails costs the run nothing: all is in its folder."""
    from altbench.sinks.log import log_run
    from altbench.sinks.sink import NONE

    if sink == NONE:
        return
    try:
        sent = log_run(run, root, sink)
    except Exception as error:  # whatever a service or its package raises
        if debugging():
            raise
        say(console, ("warning", "yellow"), f" --log {sink}: {one_line(f'{type(error).__name__}: {error}')}")
        return
    say(console, f"--log {sink}: {'sent' if sent else 'it has this run already'}")


def show_plan(sweep: SweepSpec, root: Path, workers: int | None, console: Console) -> None:
    """List the sweep's work, how much of it is already in `root`, and what the rest takes.

    Raise AltbenchError if the run would be refused.
    """
    from altbench.results.run import Run
    from altbench.runner import data_checks, dry_run
    from altbench.system.files import check_folder

    check_folder(root)
    opened = Run.open(root, sweep)
    ready = {task for task, _ in opened.plan.data}
    data_checks.check_files(opened, [task for task in sweep.tasks if task in ready])
    data_checks.check_collectable(opened, [task for task in sweep.tasks if task not in ready])
    work = dry_run.show_plan(console, opened)
    dry_run.show_cost(console, work, usable_cores() if workers is None else workers)
    for line in (*opened.lacking, f"in {root}"):
        say(console, line, wrap=False)


def video(names: Sequence[str], root: Path, episodes: int, grid: bool, rerun: int | None, out: Path | None) -> None:
    """Replay recorded episodes of cells and write them as one mp4, or one as .rrd for Rerun."""
    from altbench.runner.film import write_grid, write_video

    require_renderer()
    if rerun is not None:
        from altbench.sinks.rerun import write_rerun

        if len(names) > 1 or grid:
            raise ConfigError(f"--rerun writes one episode of one cell, got {len(names)} cells; leave --grid out")
        path = write_rerun(root, names[0], rerun, out)
    elif grid or len(names) > 1:
        path = write_grid(root, names, episodes, out)
    else:
        path = write_video(root, names[0], episodes, out)
    say(make_console(), f"wrote {path}", wrap=False)


def redraw(folder: Path, fingerprint: bool) -> None:
    """Draw a run, or reports of experiments, again; exit 1 if a figure cannot be drawn.

    `fingerprint`: whether figures say below what made them.
    """
    from altbench.experiments.redraw import redraw_reports, reports_in
    from altbench.report.drawing.layout import footers

    with footers(fingerprint):
        if reports_in(folder):
            paths, unpublished, failures = redraw_reports(folder)
            for figure, reason in unpublished:
                typer.echo(f"{figure} stays as it is: {reason}", err=True)
        else:
            paths, failures = _redraw_run(folder)
    for path in paths:
        typer.echo(path)
    for figure, reason in failures:
        typer.echo(f"{figure} could not be drawn: {reason}", err=True)
    raise typer.Exit(1 if failures else 0)


def _redraw_run(folder: Path) -> tuple[list[Path], Failures]:
    from altbench.page import PAGE, write_page_of_run
    from altbench.report import outputs

    names, failures = outputs.redraw(folder)
    paths = [folder / name for name in names]
    for run in outputs.runs_in(folder):
        undrawn = write_page_of_run(run)
        failures = (*failures, *undrawn)
        paths += [] if undrawn else [run / PAGE]
    return paths, failures


def bench_policies(
    preset: str, policies: list[str], decisions: int, threads: int, device: str, out: Path | None
) -> None:
    """Measure untrained policies; print latency, memory and the ratios of both."""
    from altbench.measure import policies as bench
    from altbench.measure.standard import standard

    names = policies or standard().policies_at(preset)
    bench.policies(make_console(), preset, names, decisions, threads, resolve_device(device), out)
