"""What a run leaves for its reader: flat parquet files, tables, figures, the fingerprint, and the terminal's summary."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from altbench.core.errors import ResultsError
from altbench.core.spec import digest
from altbench.report.table import Table
from altbench.results import frames
from altbench.results import measures as measures_module
from altbench.results.run import Run
from altbench.results.training import write_training
from altbench.results.unchecked import warn_of_unchecked
from altbench.rollout.records import MeasureRecord
from altbench.stats.parts import EpisodeParts, parts_of_run
from altbench.sweeps.kept import load_kept
from altbench.sweeps.replicates import folder_of
from altbench.sweeps.spec import SweepSpec
from altbench.system import fingerprint, sealed
from altbench.system.console import say
from altbench.system.console import show as print_all
from altbench.system.fingerprint import Fingerprint

if TYPE_CHECKING:
    from altbench.report.style import Failures

MADE_OF = "outputs.json"

log = logging.getLogger(__name__)


def write(run: Run, out: Path | None = None) -> Failures:
    """Write into `out` (None: the run's folder) all that is made of the run's recorded cells.

    Nothing is written if nothing is new, missing or damaged. Return the figures that
    could not be drawn.
    """
    recorded, out = run.recorded, out or run.root
    states = {key: [recorded.is_finished(key), len(recorded.lost(key))] for key in recorded.headers}
    measured = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in _measure_files(run)}
    version = fingerprint.package_version("altbench")
    made_of = digest({"version": version, "cells": states, "measured": measured, "renderer": run.renderer})
    old = _written(out)
    if not states or (old["made_of"] == made_of and _is_whole(out, old["files"])):
        return ()
    made_by = run.fingerprint()
    fingerprint.write_fingerprint(out, made_by)
    recorded.build_parquet(out)
    write_training(run, out)
    episodes = parts_of_run(recorded, run.root, run.sweep, out)
    more = _lookups(episodes, run.sweep)
    return _draw(out, episodes, run.measures(), made_by, made_of, more)[1]


def redraw(folder: Path) -> tuple[list[str], Failures]:
    """Draw the tables and figures of a published run again; return their names.

    Also return the figures that could not be drawn. They are made from its flat records and keep its own fingerprint. Raises
    ResultsError if `folder` lacks either.
    """
    seeds = _data_seeds(folder)
    if seeds:
        return _redraw_replicates(folder, seeds)
    made_by = fingerprint.load_fingerprint(folder)
    if made_by is None or not (folder / frames.EPISODES_FILE).is_file():
        raise ResultsError(
            f"{folder}: expected a run's folder, with {frames.EPISODES_FILE} and {fingerprint.FILE}; "
            "`altbench run` makes them"
        )
    warn_of_unchecked(folder)
    episodes = parts_of_run(frames.load_parts(folder), folder, None, folder)
    kept = folder / "sweep.json"
    more = _lookups(episodes, load_kept(kept)) if kept.is_file() and (folder / frames.DECISIONS_FILE).is_file() else {}
    return _draw(folder, episodes, measures_module.load_measures(folder), made_by, _written(folder)["made_of"], more)


def _data_seeds(folder: Path) -> tuple[int, ...]:
    """Return the data seeds of the sweep that was run in `folder`; empty for a sweep of one data set."""
    path = folder / "sweep.json"
    return load_kept(path).demonstrations.seeds if path.is_file() else ()


def runs_in(folder: Path) -> list[Path]:
    """Return the folders of the run in `folder`: itself, or that of each data set that has records."""
    seeds = _data_seeds(folder)
    if not seeds:
        return [folder]
    return [path for seed in seeds if ((path := folder_of(folder, seed)) / frames.EPISODES_FILE).is_file()]


def _redraw_replicates(folder: Path, seeds: Sequence[int]) -> tuple[list[str], Failures]:
    """Redraw the run of each data set under `folder`, and the table of how they differ."""
    from altbench.report.replication import write_replication

    names: list[str] = []
    failures: Failures = ()
    for path in runs_in(folder):
        found, failed = redraw(path)
        names += [f"{path.name}/{name}" for name in found]
        failures = (*failures, *failed)
    written = write_replication(folder, tuple(seeds))
    names += [str(path.relative_to(folder)) for path in (written[1] if written else ())]
    return names, failures


def _lookups(episodes: EpisodeParts, sweep: SweepSpec) -> dict[str, Table]:
    """Return the table of failed lookups; nothing if no policy tells its lookups."""
    from altbench.report.lookups import lookups_table

    found = lookups_table(episodes, episodes.recorded.decisions, sweep.demonstrations)
    return {"lookups": found} if len(found.data) else {}


def _draw(
    out: Path,
    episodes: EpisodeParts,
    measures: Sequence[MeasureRecord],
    made_by: Fingerprint,
    made_of: str,
    more: Mapping[str, Table],
) -> tuple[list[str], Failures]:
    """Write tables and figures; return their names, and the figures that failed.

    `more`: tables by file stem that are made of decisions.

    Files of an earlier call that are no longer made are deleted.
    """
    from altbench.report.figures import write_figures
    from altbench.report.tables import write_tables

    written = write_tables(episodes, measures, out / "tables", made_by, more)
    figures, failures = write_figures(episodes, measures, out / "figures", made_by)
    names = sorted(str(p.relative_to(out)) for p in [*written, *figures])
    for name in set(_written(out)["files"]) - set(names):
        (out / name).unlink(missing_ok=True)
    # Without a digest the next call tries a failed figure again.
    sealed.write_json(out / MADE_OF, {"made_of": "" if failures else made_of, "files": names})
    return names, failures


def _is_whole(out: Path, names: Sequence[str]) -> bool:
    """Return whether the tables and figures `names` exist, and the records that they
    are made of are not damaged.
    """
    drawn = all((out / name).is_file() for name in names)
    return drawn and frames.is_flat_whole(out) and fingerprint.load_fingerprint(out) is not None


def _measure_files(run: Run) -> list[Path]:
    """Return the plan's measurements that exist; two of one key may differ in time."""
    paths = (measures_module.measure_path(run.root, m.key) for m in run.plan.measurements)
    return [path for path in paths if path.is_file()]


def _written(out: Path) -> dict[str, Any]:
    """Return what the last call recorded in `MADE_OF`.

    Empty if that is missing or, with a warning, damaged.
    """
    try:
        found = sealed.read_json(out / MADE_OF, ("made_of", "files"), "it is written anew")
        return {"made_of": str(found["made_of"]), "files": [str(name) for name in found["files"]]}
    except (ResultsError, KeyError, TypeError) as error:
        if (out / MADE_OF).is_file():
            log.warning("counts as missing: %s", error)
        return {"made_of": "", "files": []}


def show(run: Run, console: Console) -> None:
    """Print the main tables, and what is missing from them."""
    from altbench.report.tables import render_terminal

    if run.recorded:
        episodes = parts_of_run(run.recorded, run.root, run.sweep, run.root)
        print_all(console, render_terminal(episodes, run.measures()))
    if any(path.is_file() for path in _logs(run)):
        say(console, f"errors, and what policies printed: {run.root / 'logs'}", wrap=False)
    missing = len(run.plan.cells) - len(run.recorded)
    if missing:
        say(console, f"{missing} of {len(run.plan.cells)} cells are missing from these tables", style="yellow")


def _logs(run: Run) -> Iterator[Path]:
    """Yield where the plan's cells have their logs, if they have any."""
    yield from (run.folder.log(cell.name) for cell in run.plan.cells)
