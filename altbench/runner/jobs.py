"""The kinds of jobs that a run hands to its workers."""

from __future__ import annotations

from dataclasses import dataclass

from altbench.rollout.records import Status
from altbench.sweeps.plan import Cell, Checkpoint, Measurement


@dataclass(frozen=True)
class CollectJob:
    """Collect a task's demonstrations into the run's folder."""

    task: str

    name = property(lambda self: f"{self.task.lower()}/demonstrations")
    key = property(lambda self: f"collect-{self.task}")


@dataclass(frozen=True)
class FitJob:
    """Fit one checkpoint."""

    checkpoint: Checkpoint

    name = property(lambda self: f"{self.checkpoint.name}/fit")
    key = property(lambda self: f"fit-{self.checkpoint.key}")


@dataclass(frozen=True)
class Lost:
    """An episode that took its worker with it: recorded with `status`, not played again."""

    episode: int
    status: Status
    message: str


@dataclass(frozen=True)
class RolloutJob:
    """Roll out one cell, without the episodes that are `lost`."""

    cell: Cell
    lost: tuple[Lost, ...] = ()

    name = property(lambda self: self.cell.name)
    key = property(lambda self: self.cell.key)


@dataclass(frozen=True)
class MeasureJob:
    """Measure a checkpoint's latency and memory in a fresh process."""

    measurement: Measurement

    name = property(lambda self: f"{self.measurement.name}/measure")
    key = property(lambda self: f"measure-{self.measurement.key}")


Job = CollectJob | FitJob | RolloutJob | MeasureJob
