"""What exists for an experiment: the records of its sweeps' cells, made here or published before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from altbench.core.demonstration import Demonstration
from altbench.core.policy import Policy
from altbench.experiments.shared.sweeps import Preset
from altbench.results import cells as cells_module
from altbench.results import frames
from altbench.results import measures as measures_module
from altbench.results.checkpoints import find_checkpoint
from altbench.results.flat import decisions_frame
from altbench.results.folder import RunFolder
from altbench.results.parquet import read_frame
from altbench.results.recorded import Recorded
from altbench.results.run import Run
from altbench.results.training import load_training, marked_unconverged, training_of_run
from altbench.rollout.records import EpisodeRecord, MeasureRecord
from altbench.sweeps.plan import Cell, Checkpoint, Measurement
from altbench.system.devices import set_threads


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
        """Return one row per decision that is known, as `results.load_decisions`; read once."""
        return self._decisions

    @cached_property
    def _decisions(self) -> pd.DataFrame:
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

    def published_table(self, stem: str) -> pd.DataFrame:
        """Return the numbers of a table of the published report; empty without it.

        They tell what was counted of motions, which published episodes lack.
        """
        file = self.published / f"{stem}.csv" if self.published else None
        return pd.read_csv(file) if file is not None and file.is_file() else pd.DataFrame()

    def published_rows(self, stem: str, **where: Any) -> pd.DataFrame:
        """Return the rows of `published_table` that have these values in these columns; empty without any."""
        told = self.published_table(stem)
        if not set(where) <= set(told):
            return pd.DataFrame()
        return told[(told[list(where)] == pd.Series(where)).all(axis=1)]

    def published_frame(self, stem: str) -> pd.DataFrame:
        """Return exact numbers of the published report, its `frames`; empty without them."""
        file = self.published / f"{stem}.parquet" if self.published else None
        return read_frame(file, "report it again") if file is not None and file.is_file() else pd.DataFrame()

    def measures(self) -> list[MeasureRecord]:
        """Return the measurements that are known: made here, else published."""
        own = measures_module.load_measures(self.root, set(self._measurements))
        return measures_module.in_order([*own, *self._published_measures.values()])

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
