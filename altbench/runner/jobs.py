"""The kinds of jobs that a run gives to its workers.

Each says what it needs and how it is done.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import ClassVar, final

from altbench.results.checked import check_key
from altbench.results.run import Run
from altbench.rollout.watch import Phase
from altbench.runner import work
from altbench.runner.heartbeat import Heartbeat, Pulse
from altbench.runner.work import Lost
from altbench.runner.worker import Worker
from altbench.sweeps.plan import Cell, Checkpoint, Measurement
from altbench.system.lease import Proof

SILENCE_S: dict[Phase, float] = {"loading": 600.0, "simulator": 120.0, "reset": 15.0, "decision": 15.0}
"""Seconds of silence after which a worker of a cell hangs, by phase.

In `reset` and `decision` they come on top of the policy's own limit, which interrupts
Python code: these are for code that it cannot interrupt.
"""


class Job(ABC):
    """One piece of a run's work, which one worker does whole.

    A job is frozen and picklable: it names its work and holds no process's state, so
    that another process or machine can do it. Its result is in the run's folder
    afterwards.
    """

    kind: ClassVar[str]
    """What the job makes, in one word: `cell`."""
    first_guess_s: ClassVar[float]
    """Expected seconds of one unit, used until a job of the kind has ended."""
    makes_checkpoint: ClassVar[bool] = False
    """Whether other jobs wait for the checkpoint that this one makes."""
    runs_last: ClassVar[bool] = False
    """Whether the job waits for all jobs that do not run last themselves."""
    tries: ClassVar[int] = work.TRIES
    """How many workers the job may lose in one place."""

    @property
    @abstractmethod
    def name(self) -> str:
        """A readable name, such as `lift/alt/n30/s0/fit`."""

    @property
    @abstractmethod
    def key(self) -> str:
        """What tells the job from all others, and names its heartbeat's file."""

    @property
    def checkpoint_key(self) -> str:
        """The key of the checkpoint that the job makes or needs; empty for neither."""
        return ""

    @property
    def units(self) -> int:
        """How many equal parts the job has, to guess its time."""
        return 1

    def threads(self, run: Run, available: int) -> int:
        """Return how many of the executor's `available` threads the job uses."""
        del run, available
        return 1

    def silence_s(self, run: Run, pulse: Pulse) -> float | None:
        """Return how long, in seconds, the job may report nothing after `pulse`.

        None if that is not known.
        """
        del run, pulse
        return None

    @property
    def row(self) -> str:
        """The row of the tables to which the job belongs."""
        return self.name

    def record_missing(self, run: Run, reason: str) -> None:
        """Record that the job could not be done, if its results are counted."""
        del run, reason

    def without(self, lost: Lost) -> Job | None:
        """Return the job without the part that ended its worker.

        None if it has no parts to leave out.
        """
        del lost
        return None

    @abstractmethod
    def do(self, run: Run, worker: Worker, heartbeat: Heartbeat) -> None:
        """Do the job with what `worker` has, and report to `heartbeat`."""


@final
@dataclass(frozen=True)
class CollectJob(Job):
    """Collecting a task's demonstrations into the run's folder."""

    task: str

    kind: ClassVar[str] = "demonstrations"
    first_guess_s: ClassVar[float] = 90.0

    @property
    def name(self) -> str:
        """Readable, such as `lift/demonstrations`."""
        return f"{self.task.lower()}/demonstrations"

    @property
    def key(self) -> str:
        """The task, since there is one such job a task."""
        return f"collect-{self.task}"

    def do(self, run: Run, worker: Worker, heartbeat: Heartbeat) -> None:
        """Collect the demonstrations."""
        del worker
        work.collect(run, self.task, heartbeat)


@final
@dataclass(frozen=True)
class CheckJob(Job):
    """Checking the policy of a cell, which learns nothing, before it plays."""

    cell: Cell

    kind: ClassVar[str] = "check"
    first_guess_s: ClassVar[float] = 5.0
    # The episodes tell more of a policy that dies, and count it.
    tries: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """Readable, such as `lift/mine/n30/s0/check`."""
        point = self.cell.checkpoint
        return f"{point.task.lower()}/{self.cell.label}/n{point.n}/s{point.train_seed}/check"

    @property
    def key(self) -> str:
        """The check's key, marked as such."""
        return f"check-{check_key(self.cell)}"

    def threads(self, run: Run, available: int) -> int:
        """Return the sweep's threads for rollouts."""
        del available
        return run.sweep.rollout_threads

    def silence_s(self, run: Run, pulse: Pulse) -> float | None:
        """Return the time limit of one decision: a check takes no longer."""
        return SILENCE_S[pulse.phase] + run.sweep.decision_timeout_s

    def do(self, run: Run, worker: Worker, heartbeat: Heartbeat) -> None:
        """Check the policy and keep what was found."""
        work.check(run, self.cell, worker, heartbeat)


@final
@dataclass(frozen=True)
class FitJob(Job):
    """Fitting one checkpoint. `proof`: of the claim on it, if others share the run."""

    checkpoint: Checkpoint
    proof: Proof | None = field(default=None, compare=False)

    kind: ClassVar[str] = "checkpoint"
    first_guess_s: ClassVar[float] = 150.0
    makes_checkpoint: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Readable, such as `lift/alt/n30/s0/fit`."""
        return f"{self.checkpoint.name}/fit"

    @property
    def key(self) -> str:
        """The checkpoint's key, marked as its fit."""
        return f"fit-{self.checkpoint.key}"

    @property
    def checkpoint_key(self) -> str:
        """The key of the checkpoint that is fitted."""
        return self.checkpoint.key

    def silence_s(self, run: Run, pulse: Pulse) -> float | None:
        """Return the time limit of one decision while the fitted policy is checked."""
        return SILENCE_S[pulse.phase] + run.sweep.decision_timeout_s if pulse.asks else None

    def without(self, lost: Lost) -> Job:
        """Return the job itself: it leaves out the check in which it lost a worker."""
        del lost
        return self

    def threads(self, run: Run, available: int) -> int:
        """Return the sweep's threads for training."""
        del available
        return run.sweep.train_threads

    def do(self, run: Run, worker: Worker, heartbeat: Heartbeat) -> None:
        """Fit the checkpoint."""
        work.fit(run, self.checkpoint, worker, heartbeat, self.proof)


@final
@dataclass(frozen=True)
class RolloutJob(Job):
    """Rolling out one cell, without the episodes that are `lost`.

    `older`: the keys of recorded cells that hold episodes of it. `proof`: of the claim on
    it, if others share the run.
    """

    cell: Cell
    lost: tuple[Lost, ...] = ()
    older: tuple[str, ...] = ()
    proof: Proof | None = field(default=None, compare=False)

    kind: ClassVar[str] = "cell"
    first_guess_s: ClassVar[float] = 1.5

    @property
    def name(self) -> str:
        """The cell's name."""
        return self.cell.name

    @property
    def key(self) -> str:
        """The cell's key."""
        return self.cell.key

    @property
    def checkpoint_key(self) -> str:
        """The key of the checkpoint that plays."""
        return self.cell.checkpoint.key

    @property
    def units(self) -> int:
        """The cell's episodes."""
        return self.cell.episodes

    def threads(self, run: Run, available: int) -> int:
        """Return the sweep's threads for rollouts."""
        del available
        return run.sweep.rollout_threads

    @property
    def row(self) -> str:
        """The cell's policy on its task: `lift/alt/n30`."""
        point = self.cell.checkpoint
        return f"{point.task.lower()}/{self.cell.label}/n{point.n}"

    def silence_s(self, run: Run, pulse: Pulse) -> float | None:
        """Return the time limit of one decision: each one is reported."""
        return SILENCE_S[pulse.phase] + (run.sweep.decision_timeout_s if pulse.asks else 0.0)

    def record_missing(self, run: Run, reason: str) -> None:
        """Record the episodes that were not played as missing."""
        work.record_unplayed(run, self.cell, self.lost, reason, self.proof)

    def without(self, lost: Lost) -> Job:
        """Return the job without the episode `lost`, which is recorded as it says."""
        return replace(self, lost=(*self.lost, lost))

    def do(self, run: Run, worker: Worker, heartbeat: Heartbeat) -> None:
        """Play the cell's episodes."""
        work.roll_out(run, self.cell, self.lost, worker, heartbeat, self.older, self.proof)


@final
@dataclass(frozen=True)
class MeasureJob(Job):
    """Measuring a checkpoint's latency and memory in a process of its own."""

    measurement: Measurement

    kind: ClassVar[str] = "measurement"
    first_guess_s: ClassVar[float] = 15.0
    runs_last: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Readable, such as `lift/alt/n30/s0/measure`."""
        return f"{self.measurement.name}/measure"

    @property
    def key(self) -> str:
        """The measurement's key, marked as such."""
        return f"measure-{self.measurement.key}"

    @property
    def checkpoint_key(self) -> str:
        """The key of the checkpoint that is measured."""
        return self.measurement.checkpoint.key

    def threads(self, run: Run, available: int) -> int:
        """Return all threads, since other work would disturb the measurement."""
        del run
        return available

    def do(self, run: Run, worker: Worker, heartbeat: Heartbeat) -> None:
        """Measure the checkpoint."""
        del heartbeat
        work.measure(run, self.measurement, worker)
