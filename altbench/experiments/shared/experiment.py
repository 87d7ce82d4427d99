"""What an experiment is: a question, the sweeps that answer it, and a report.

All experiments of one `altbench experiments run --out OUT` share the run folder
OUT/run, so that demonstrations, checkpoints and cells that several need are made once.
A report never starts work: it reads the records that exist, leaves missing numbers
empty, and names them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NewType

import pandas as pd
from matplotlib.figure import Figure

from altbench.core.demonstration import Demonstration
from altbench.core.policy import Policy
from altbench.experiments import About
from altbench.report.drawing.layout import drawing_fault
from altbench.report.style import styled
from altbench.report.table import Table
from altbench.results import cells as cells_module
from altbench.results import frames
from altbench.results import measures as measures_module
from altbench.results.checkpoints import find_checkpoint
from altbench.results.flat import decisions_frame
from altbench.results.folder import RunFolder
from altbench.results.recorded import Recorded
from altbench.results.run import Run
from altbench.results.training import load_training, marked_unconverged, training_of_run
from altbench.rollout.records import EpisodeRecord, MeasureRecord
from altbench.sweeps.plan import Cell, Checkpoint, Measurement
from altbench.sweeps.spec import SweepSpec
from altbench.system.devices import set_threads

Preset = Literal["small", "paper"]
Say = Callable[[str], None]
"""Shows one line of progress."""


@dataclass(frozen=True)
class Reported:
    """A number of the paper beside ours.

    `ours`: as text, with its interval; empty if it was not measured. `second_hand`:
    known from notes on the paper alone; reports mark it with †.
    """

    quantity: str
    reported: str
    ours: str = ""
    second_hand: bool = False


@dataclass(frozen=True)
class Undrawn:
    """A figure that cannot be drawn, and why; `unpublished`: for want of a table."""

    reason: str
    unpublished: bool = False


Figures = NewType("Figures", dict[str, Figure | Undrawn])
"""Figures by file stem; `drawn` alone makes them."""


class Unpublished(Exception):
    """A figure asks for a table that a published report lacks."""


class Tables(dict[str, pd.DataFrame]):
    """The data of a report's tables by file stem: all that its figures are drawn of.

    A report that was published holds the same tables, so that its figures can be drawn
    again without records.
    """

    def __missing__(self, stem: str) -> pd.DataFrame:
        """Raise Unpublished."""
        raise Unpublished(f"it is drawn of {stem}.csv, which is missing")


@dataclass(frozen=True)
class Section:
    """A part of a report: Markdown text, then tables and figures by file stem.

    `figures`: those of `Experiment.figures` that stand here.
    """

    heading: str
    text: str = ""
    tables: Mapping[str, Table] = field(default_factory=dict)
    figures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse text that Markdown would take for code."""
        if any(line.startswith("    ") for line in self.text.splitlines()):
            raise ValueError(
                f"section {self.heading!r}: Markdown shows indented lines as code; give the text to prose()"
            )


def drawn(**draw: Callable[[], Figure | None]) -> Figures:
    """Draw figures, each by the function under its file stem; return them by stem.

    Those that return None have nothing to show and are left out. A function that raises
    costs its own figure alone, and the report says why.
    """
    figures = {stem: _draw(one) for stem, one in draw.items()}
    return Figures({stem: figure for stem, figure in figures.items() if figure is not None})


def _draw(draw: Callable[[], Figure | None]) -> Figure | Undrawn | None:
    try:
        with styled():
            return draw()
    except Unpublished as error:
        return Undrawn(str(error), unpublished=True)
    except Exception as error:
        return Undrawn(drawing_fault(error))


@dataclass(frozen=True)
class Report:
    """What an experiment found.

    `summary`: the answer in a few sentences, from the numbers that exist; empty without
    any. `missing`: what is missing beyond the run's own cells, which the writer lists.
    """

    summary: str
    sections: tuple[Section, ...]
    reported: tuple[Reported, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExperimentRun:
    """What exists for an experiment under `root` (OUT/run), of its own sweeps alone.

    `own`: a folder of the experiment's own, for what it computes besides cells. `runs`: one
    per sweep. `left_out`: rows that this installation cannot make, each with the reason.
    `preset`: the one that the sweeps were made for. `published`: a folder with records that
    were published before; they count for cells that have no record under `root`.
    """

    root: Path
    own: Path
    runs: tuple[Run, ...] = ()
    left_out: tuple[str, ...] = ()
    preset: Preset = "small"
    published: Path | None = None

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell that the sweeps ask for, once."""
        return tuple({cell.key: cell for run in self.runs for cell in run.plan.cells}.values())

    @property
    def data_seeds(self) -> tuple[int, ...]:
        """The roots of the demonstrations that the sweeps ask for."""
        return tuple(sorted({run.sweep.demonstrations.seed for run in self.runs}))

    @cached_property
    def _found(self) -> Recorded:
        """The records of the cells, read once."""
        return frames.load_recorded(self.root, [cell.key for cell in self.cells])

    @cached_property
    def _read(self) -> dict[str, tuple[EpisodeRecord, ...]]:
        """Episodes with trajectories by their cell's key, as far as they were read."""
        return {}

    @cached_property
    def recorded(self) -> tuple[Cell, ...]:
        """The cells that have a record."""
        return tuple(cell for cell in self.cells if cell.key in self._found)

    @cached_property
    def _published(self) -> Any:
        """Published episodes, as an arrow table, of the cells that have no record here."""
        wanted = {cell.name for cell in self.cells} - {cell.name for cell in self.recorded}
        return frames.published_episodes(self.published, wanted) if self.published else None

    @cached_property
    def _published_decisions(self) -> Any:
        """Published decisions, as an arrow table, of the cells that have no record here."""
        wanted = {cell.name for cell in self.from_published}
        return frames.published_decisions(self.published, wanted) if self.published else None

    @cached_property
    def from_published(self) -> tuple[Cell, ...]:
        """The cells whose episodes are published ones, without motions, and mostly without decisions."""
        names = set(self._published["name"].to_pylist()) if self._published is not None else set()
        return tuple(cell for cell in self.cells if cell.name in names)

    @property
    def told(self) -> tuple[Cell, ...]:
        """The cells whose episodes are known, recorded here or published."""
        return (*self.recorded, *self.from_published)

    @cached_property
    def with_other_settings(self) -> tuple[str, ...]:
        """Labels whose published episodes were played with other settings than the row has now."""
        if not self.from_published:
            return ()
        played = dict(zip(*(self._published[name].to_pylist() for name in ("name", "spec_json")), strict=True))
        changed = {cell.label for cell in self.from_published if _differs(cell, json.loads(played[cell.name]))}
        return tuple(sorted(changed))

    @cached_property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Every checkpoint that the sweeps ask for, once."""
        return tuple({c.key: c for run in self.runs for c in run.plan.checkpoints}.values())

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """Names of the cells, measurements and checkpoints that are not finished."""
        told = {cell.key for cell in self.from_published}
        cells = [c.name for c in self.cells if c.key not in told and not self._found.is_finished(c.key)]
        published = {(record.label, record.n) for record in self._published_measures.values()}
        unmeasured = [
            f"{m.name}/measure"
            for key, m in self._measurements.items()
            if not measures_module.is_measured(self.root, key) and (m.label, m.checkpoint.n) not in published
        ]
        needed = {cell.checkpoint.key for cell in self.cells if cell.key not in told}
        unfit = [c for c in self.checkpoints if c.trainable and self.folder(c) is None]
        unfitted = [f"{c.name}/fit" for c in unfit if c.key in needed or not told]
        return (*cells, *unmeasured, *unfitted)

    def episodes(self) -> pd.DataFrame:
        """Return one row per episode that is known, as `results.load_episodes`.

        A column says which checkpoints have converged, if any has not.
        """
        return marked_unconverged(self._found.episodes(self._published), self.training)

    @cached_property
    def training(self) -> dict[str, dict[str, Any]]:
        """What is known of how long the checkpoints trained, by key, as in training.json."""
        known = {key: value for run in self.runs for key, value in training_of_run(run).items()}
        published = load_training(self.published) if self.published else {}
        return {**published, **load_training(self.root), **known}

    def write_episodes(self, folder: Path) -> None:
        """Write `episodes` and each cell's specification into `folder`/episodes.parquet."""
        self._found.write_episodes(folder, self._published)

    def write_decisions(self, folder: Path) -> None:
        """Write `decisions` into `folder`/decisions.parquet."""
        self._found.write_decisions(folder, self._published_decisions)

    def decisions(self) -> pd.DataFrame:
        """Return one row per decision that is known, as `results.load_decisions`."""
        own, published = self._found.decisions(), self._published_decisions
        return own if published is None else pd.concat([own, decisions_frame(published)], ignore_index=True)

    def records(self, cell: Cell) -> tuple[EpisodeRecord, ...]:
        """Return a cell's episodes with decisions and trajectories; empty without a record.

        A cell is read once.
        """
        if cell.key not in self._found:
            return ()
        if cell.key not in self._read:
            self._read[cell.key] = cells_module.read_cell(cells_module.cell_path(self.root, cell.key)).episodes
        return self._read[cell.key]

    def measures(self) -> list[MeasureRecord]:
        """Return the measurements that are known: made here, else published."""
        own = measures_module.load_measures(self.root, set(self._measurements))
        return [*own, *self._published_measures.values()]

    def write_measures(self, folder: Path) -> None:
        """Write `measures` into `folder`/measures."""
        own = measures_module.find_measures(self.root, set(self._measurements))
        measures_module.copy_measures([*own, *self._published_measures], folder)

    @cached_property
    def _measurements(self) -> dict[str, Measurement]:
        """The measurements that the sweeps ask for, by key."""
        return {m.key: m for run in self.runs for m in run.plan.measurements}

    @cached_property
    def _published_measures(self) -> dict[Path, MeasureRecord]:
        """Published measurements, by file, of rows that were not measured here."""
        if self.published is None:
            return {}
        rows = {key: (m.label, m.checkpoint.n) for key, m in self._measurements.items()}
        here = {row for key, row in rows.items() if measures_module.is_measured(self.root, key)}
        wanted = set(rows.values()) - here
        found = measures_module.find_measures(self.published)
        return {path: record for path, record in found.items() if (record.label, record.n) in wanted}

    def folder(self, checkpoint: Checkpoint) -> Path | None:
        """Return where a fitted checkpoint lies; None if it is missing."""
        return find_checkpoint(RunFolder(self.root).checkpoints, checkpoint.folder)

    def policy(self, checkpoint: Checkpoint, runtime: Mapping[str, Any] | None = None) -> Policy | None:
        """Load a fitted checkpoint's policy, ready to act; None if it is missing.

        It has as many threads as in rollouts, since its decisions may depend on them.
        """
        run = self.run_of(checkpoint)
        set_threads(run.sweep.rollout_threads)
        return None if self.folder(checkpoint) is None else run.policy(checkpoint, runtime)

    def demonstrations(self, checkpoint: Checkpoint) -> tuple[Demonstration, ...]:
        """Return a checkpoint's demonstrations; empty if they have not been collected."""
        run = self.run_of(checkpoint)
        file = run.data.get(checkpoint.task)
        return run.demonstrations(checkpoint) if file is not None and file.is_file() else ()

    def run_of(self, checkpoint: Checkpoint) -> Run:
        """Return the run of the first sweep that asks for a checkpoint."""
        for run in self.runs:
            if any(c.key == checkpoint.key for c in run.plan.checkpoints):
                return run
        raise KeyError(checkpoint.name)


def _differs(cell: Cell, played: Mapping[str, Any]) -> bool:
    """Return whether a published cell had other settings; a precision that follows the machine does not count."""
    machine = {"precision"}
    now, then = (
        {k: v for k, v in config.items() if k not in machine} for config in (cell.config, played.get("config", {}))
    )
    return now != then


def _no_sweeps(preset: Preset) -> Sequence[SweepSpec]:
    del preset
    return ()


def _no_figures(tables: Tables) -> Figures:
    del tables
    return drawn()


def _nothing_to_compute(run: ExperimentRun, say: Say) -> None:
    del run, say


@dataclass(frozen=True)
class Experiment(About):
    """One experiment: what it says of itself, and what it does.

    `sweeps`: what it runs for a preset, in order; it may ask for rows that
    this installation does not know, which are left out and named. `compute`: computes
    what it needs besides cells, into `run.own`; called after the sweeps have run, and
    resumable. `report`: reads records and starts no work. `figures`: draws the figures
    that its sections name, of the report's tables alone. `reads_decisions`: whether the
    report is made of decisions as well; they are then published beside its episodes.
    """

    report: Callable[[ExperimentRun], Report]
    sweeps: Callable[[Preset], Sequence[SweepSpec]] = _no_sweeps
    compute: Callable[[ExperimentRun, Say], None] = _nothing_to_compute
    figures: Callable[[Tables], Figures] = _no_figures
    reads_decisions: bool = False
