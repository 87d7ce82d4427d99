"""The plan of a sweep: checkpoints to fit, cells to roll out, and what to measure.

Each has a readable name and a key. Planning starts neither simulator nor training.
rows.py checks the sweep; keys.py specifies the keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from altbench.core import registry
from altbench.core.errors import ConfigError
from altbench.core.policy import Trainable
from altbench.core.spec import canonical, digest
from altbench.core.types import ControlMode
from altbench.sweeps.keys import cell_specification, checkpoint_specification, measurement_specification
from altbench.sweeps.rows import (
    Column,
    Provenance,
    Row,
    Sources,
    check_no_empty_evaluation,
    make_evaluations,
    make_row,
)
from altbench.sweeps.spec import MeasureEntry, PolicyEntry, SweepSpec
from altbench.system.files import file_name


@dataclass(frozen=True)
class Checkpoint:
    """One fit of a policy to N demonstrations of a task with one training seed.

    `config`: the complete settings, as JSON. `data_checksum`: of the N demonstrations,
    empty if they are missing. `sources`: digests of its policy's code and files.
    `control_mode`: in which the policy learns and acts. `adapter`: around it, as JSON;
    None: it has our conventions.
    """

    task: str
    label: str
    policy: str
    preset: str
    config: Mapping[str, Any]
    n: int
    train_seed: int
    trainable: bool
    data_checksum: str
    key: str
    sources: Sources = field(default_factory=Sources)
    control_mode: ControlMode = "ee_pose"
    adapter: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """A readable and stable name, such as `lift/alt/n30/s0`."""
        return f"{self.task.lower()}/{self.label}/n{self.n}/s{self.train_seed}"

    @property
    def folder(self) -> str:
        """The name of its folder under `checkpoints/`."""
        return f"{file_name(self.name)}-{self.key[:12]}"


@dataclass(frozen=True)
class Cell:
    """Episodes of one checkpoint under one column, as the row `label` runs it.

    `preset`, `config`: the row's preset and complete settings, as JSON. `runtime`: the
    settings that do not change the fit. `specification`: canonical JSON; `key` is its
    digest.
    """

    checkpoint: Checkpoint
    label: str
    preset: str
    config: Mapping[str, Any]
    runtime: Mapping[str, Any]
    column: Column
    episodes: int
    key: str
    specification: str

    @property
    def name(self) -> str:
        """A readable and stable name, such as `lift/alt/n30/s0/recall/clean`."""
        point = self.checkpoint
        return f"{point.task.lower()}/{self.label}/n{point.n}/s{point.train_seed}/{self.column.name}"

    @property
    def split(self) -> str:
        """The split and event in tables: `recall`, `recall+move15by0.08`."""
        return self.column.where

    @property
    def condition(self) -> str:
        """The perturbation in tables: `clean` or `occlusion@wrist,step20`."""
        return self.column.entry.title

    @property
    def severity(self) -> int:
        """The perturbation's severity, 0 if the column is clean."""
        return self.column.severity

    @property
    def options(self) -> Mapping[str, Any]:
        """The perturbation's options."""
        return self.column.entry.options


@dataclass(frozen=True)
class Measurement:
    """A row of the latency and memory tables: a checkpoint as the row `label` runs it.

    `runtime`: the settings that do not change the fit. `how`: how many decisions
    and threads. `needs_state`: whether the policy sees the privileged state.
    """

    checkpoint: Checkpoint
    label: str
    runtime: Mapping[str, Any]
    how: MeasureEntry
    key: str
    needs_state: bool = False

    @property
    def name(self) -> str:
        """A readable name, such as `lift/alt-hold/n30/s0`."""
        return f"{self.checkpoint.task.lower()}/{self.label}/n{self.checkpoint.n}/s{self.checkpoint.train_seed}"


@dataclass(frozen=True)
class Plan:
    """All work of a sweep, in the order of its file. `data`: as in `Provenance`.

    `sweep`: with everything definite that depends on the machine, as a run keeps it.
    `sources`: what is a third party's or a user's, in words -> digest of its code or files.
    """

    sweep: SweepSpec
    checkpoints: tuple[Checkpoint, ...]
    cells: tuple[Cell, ...]
    measurements: tuple[Measurement, ...]
    data: Mapping[tuple[str, int], str]
    sources: Mapping[str, str] = field(default_factory=dict)


def make_plan(sweep: SweepSpec, provenance: Provenance) -> Plan:
    """Check every name and setting of `sweep` and expand it.

    Raise ConfigError or ContractError before any work is done.
    """
    checkpoints: dict[str, Checkpoint] = {}
    cells: dict[str, Cell] = {}
    measurements: list[Measurement] = []
    rows = _rows(sweep, provenance)
    for row in rows:
        for n, train_seed in [(n, seed) for n in row.entry.n for seed in sweep.train_seeds]:
            made = _checkpoint(row, n, train_seed)
            # Two rows that differ in runtime settings alone share one fit.
            made = checkpoints.setdefault(made.key, made)
            for cell in _cells(row, made):
                _add_cell(cells, cell)
            if sweep.measure:
                measurements.append(_measurement(row, made, sweep.measure))
    check_no_empty_evaluation(sweep)
    sweep = sweep.model_copy(update={"policies": _entries(rows)})
    return Plan(
        sweep,
        tuple(checkpoints.values()),
        tuple(cells.values()),
        tuple(measurements),
        provenance.data,
        _sources(rows),
    )


def _entries(rows: Sequence[Row]) -> tuple[PolicyEntry, ...]:
    """Return the rows' policy entries, which every task shares, with everything definite."""
    return tuple({row.entry.name: row.entry for row in rows}.values())


def _rows(sweep: SweepSpec, provenance: Provenance) -> list[Row]:
    rows = []
    for name in sweep.tasks:
        task = registry.task(name)
        evaluations = make_evaluations(sweep, task)
        rows += [make_row(sweep, provenance, task, entry, evaluations) for entry in sweep.policies]
    return rows


def _sources(rows: Sequence[Row]) -> dict[str, str]:
    """Return the digests of code and files that are no part of altbench, by what they are."""
    found: dict[str, str] = {}
    for row in rows:
        found[f"policy {row.entry.name}"] = row.sources.policy
        found[f"files of {row.entry.name}"] = row.sources.files
        found[f"task {row.task.name}"] = row.sources.task
        columns = [column for _, columns in row.evaluations for column in columns]
        found |= {f"perturbation {column.entry.name}": column.source for column in columns}
    return {what: digest for what, digest in found.items() if digest}


def _checkpoint(row: Row, n: int, train_seed: int) -> Checkpoint:
    specification = checkpoint_specification(row, n, train_seed)
    return Checkpoint(
        task=row.task.name,
        label=row.entry.name,
        policy=row.entry.registered,
        preset=row.entry.preset,
        config=row.settings,
        n=n,
        train_seed=train_seed,
        trainable=issubclass(row.policy, Trainable),
        data_checksum=specification["data"],
        key=digest(specification),
        sources=row.sources,
        control_mode=row.requirements.control_mode,
        adapter=None if row.adapter is None else row.adapter.tables(),
    )


def _cells(row: Row, checkpoint: Checkpoint) -> list[Cell]:
    """Return the cells in which `row` evaluates `checkpoint`."""
    found = []
    for evaluation, column in row.columns(checkpoint.n):
        episodes = checkpoint.n if evaluation.episodes == "each" else int(evaluation.episodes)
        specification = cell_specification(row, checkpoint.key, column, episodes)
        found.append(
            Cell(
                checkpoint=checkpoint,
                label=row.entry.name,
                preset=row.entry.preset,
                config=row.settings,
                runtime=row.runtime,
                column=column,
                episodes=episodes,
                key=digest(specification),
                specification=canonical(specification),
            )
        )
    return found


def _measurement(row: Row, checkpoint: Checkpoint, how: MeasureEntry) -> Measurement:
    key = digest(measurement_specification(row, checkpoint.key, how))
    return Measurement(checkpoint, row.entry.name, row.runtime, how, key, row.requirements.needs_state)


def _add_cell(cells: dict[str, Cell], cell: Cell) -> None:
    """Add `cell`; raise ConfigError if a different cell has the same name.

    Tables group episodes by name, so they would pool the two cells.
    """
    other = cells.setdefault(cell.name, cell)
    if other.key != cell.key:
        hint = "leave one out, or give one's perturbation a `label`"
        raise ConfigError(f"two evaluations make a cell called {cell.name!r}; {hint}")
