"""How long the work of a plan takes, and how much disk it fills, before it is done.

The rates are those of the run's own finished work; what it has not done yet has the rates
that altbench brings, scaled to the speed of this machine as far as the run knows it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from altbench.core import registry
from altbench.core.errors import AltbenchError
from altbench.core.spec import complete
from altbench.results.checkpoints import read_card
from altbench.results.run import Run
from altbench.runner.jobs import CollectJob, FitJob, Job, MeasureJob, RolloutJob
from altbench.runner.rates import Rates, preset_of, shipped, slower_in, steps_of
from altbench.sweeps.plan import Cell, Checkpoint
from altbench.system.precision import likely_choice

FRAMES = 100
"""Control steps of a demonstration of a task that no rates name."""
LEAST_S = 1.0
"""Seconds of the shortest job: a worker loads what the job needs."""
COLLECT, WORK, MEASURE = "collect", "work", "measure"
"""The stages of a run, one after the other."""


@dataclass(frozen=True)
class Cost:
    """What one job takes: seconds on one thread, None if that is not known, and bytes.

    `after`: the checkpoint that the job makes or waits for.
    """

    name: str
    stage: str
    seconds: float | None
    bytes: float = 0.0
    after: str = ""
    makes: bool = False


@dataclass(frozen=True)
class Total:
    """What jobs take together. `unknown`: the jobs whose time is not known."""

    seconds: float
    bytes: float
    unknown: tuple[str, ...]


def total(costs: Iterable[Cost], workers: int) -> Total:
    """Return what jobs take with `workers` processes, stage after stage.

    A stage takes no less than its longest chain: a fit, then a cell of its policy.
    Measurements are taken one after the other.
    """
    found, threads, seconds = list(costs), max(workers, 1), 0.0
    for stage in (COLLECT, WORK, MEASURE):
        own = [(cost, cost.seconds or 0.0) for cost in found if cost.stage == stage]
        whole = sum(each for _, each in own)
        seconds += whole if stage == MEASURE else max(whole / threads, _longest(own))
    unknown = tuple(cost.name for cost in found if cost.seconds is None)
    return Total(seconds, sum(cost.bytes for cost in found), unknown)


def _longest(own: list[tuple[Cost, float]]) -> float:
    fits: dict[str, float] = {}
    cells: dict[str, float] = {}
    for cost, seconds in own:
        kind = fits if cost.makes else cells
        key = cost.after or cost.name
        kind[key] = max(kind.get(key, 0.0), seconds)
    return max((fits.get(key, 0.0) + cells.get(key, 0.0) for key in {*fits, *cells}), default=0.0)


@dataclass(frozen=True)
class Estimator:
    """The costs of a run's jobs. `rates`: for what the run itself has not done yet.

    `reads_run`: False for the rates alone; no record of the run is read then.
    """

    run: Run
    rates: Rates = field(default_factory=shipped)
    reads_run: bool = True

    def cost(self, job: Job) -> Cost:
        """Return what `job` takes."""
        if isinstance(job, CollectJob):
            return self._collecting(job)
        if isinstance(job, FitJob):
            point = job.checkpoint
            size = float(self.rates.checkpoint_bytes.get(preset_of(point.policy, point.preset), 0))
            return Cost(job.name, WORK, self._fit(point), size, point.key, makes=True)
        if isinstance(job, RolloutJob):
            size = job.units * self.rates.step_bytes * self._horizon(job.cell.checkpoint.task)
            return Cost(job.name, WORK, self._cell(job.cell), size, job.checkpoint_key)
        seconds = self.rates.measurement_s or MeasureJob.first_guess_s
        return Cost(job.name, MEASURE, seconds * self.speed)

    @cached_property
    def precision_factor(self) -> float:
        """How many times as long gradient steps take here as by the rates, for the precision of training alone."""
        if self.run.device != "cpu":
            return 1.0  # the rates are of processors, and a GPU is faster in either precision
        return slower_in(likely_choice().precision, self.rates)

    @cached_property
    def speed(self) -> float:
        """How many times the seconds of the rates this run has needed; 1 if it has done nothing."""
        ratios = [
            seconds / known
            for (task, policy), seconds in self._played.items()
            if (known := self.rates.episodes.get(task, {}).get(policy))
        ]
        return statistics.median(ratios) if ratios else 1.0

    @cached_property
    def _played(self) -> Mapping[tuple[str, str], float]:
        """(task, policy:preset) -> mean seconds of the run's own episodes."""
        if not self.reads_run:
            return {}
        frame = self.run.episodes()
        frame = frame[frame.status == "ok"]
        names = [preset_of(policy, preset) for policy, preset in zip(frame.policy, frame["preset"], strict=True)]
        grouped = frame.wall_s.groupby([frame.task, names]).mean()
        return {
            (str(key[0]), str(key[1])): float(seconds) for key, seconds in grouped.items() if isinstance(key, tuple)
        }

    @cached_property
    def _fitted(self) -> Mapping[tuple[str, str], float]:
        """(task, policy:preset) -> seconds of a gradient step in the run's own fits, or of a whole fit."""
        found: dict[tuple[str, str], float] = {}
        for point in self.run.plan.checkpoints if self.reads_run else ():
            folder = self.run.checkpoint_folder(point) if point.trainable else None
            if folder is not None:
                steps = _steps(point, self.rates)
                found[point.task, preset_of(point.policy, point.preset)] = read_card(folder).train_seconds / (
                    steps or 1
                )
        return found

    def _collecting(self, job: CollectJob) -> Cost:
        sweep, info = self.run.sweep, registry.task(job.task)
        n = sweep.demonstrations.n
        frames = self.rates.frames.get(job.task, FRAMES)
        each = (
            self.rates.demonstrations.get(job.task)
            or self._typical(self.rates.demonstrations.values()) * frames / FRAMES
        )
        height, width = sweep.image_size
        size = n * frames * len(info.cameras) * height * width * 3 * self.rates.pixel_bytes
        return Cost(job.name, COLLECT, n * each * self.speed, size)

    def _fit(self, point: Checkpoint) -> float | None:
        name, steps = preset_of(point.policy, point.preset), _steps(point, self.rates)
        own = self._fitted.get((point.task, name)) or next((s for (_, n), s in self._fitted.items() if n == name), None)
        if own is not None:
            return own * (steps or 1)
        known = fit_seconds(point, self.rates)
        return None if known is None else known * self.speed * (self.precision_factor if steps else 1.0)

    def _cell(self, cell: Cell) -> float:
        task, name = cell.checkpoint.task, preset_of(cell.checkpoint.policy, cell.preset)
        each = self._played.get((task, name)) or self._rate(task, name) * self.speed
        return cell.episodes * each + self.rates.cell_s * self.speed

    def _rate(self, task: str, name: str) -> float:
        """Return the seconds of an episode by the rates.

        A policy that is not in them on this task is as slow as others there, or as it
        is elsewhere for each control step; a task that is not in them, as others for
        each control step.
        """
        here = self.rates.episodes.get(task, {})
        if name in here:
            return here[name]
        per_step = [
            own.get(name, self._typical(own.values())) / registry.task(other).horizon
            for other, own in self.rates.episodes.items()
            if other in registry.names("task")
        ]
        elsewhere = self._typical(per_step) * self._horizon(task)
        return self._typical(here.values()) if here else elsewhere or cell_guess()

    def _horizon(self, task: str) -> int:
        return self.run.sweep.horizon_of(task) or registry.task(task).horizon

    @staticmethod
    def _typical(values: Iterable[float]) -> float:
        found = list(values)
        return statistics.median(found) if found else 0.0


def fit_seconds(point: Checkpoint, rates: Rates) -> float | None:
    """Return the seconds of a fit by the rates alone; None if they do not know the policy."""
    name, steps = preset_of(point.policy, point.preset), _steps(point, rates)
    known = rates.steps.get(name) if steps else rates.fits.get(name)
    return None if known is None else known * (steps or 1)


def longest_first(points: Iterable[Checkpoint], rates: Rates | None = None) -> list[Checkpoint]:
    """Return checkpoints in the order in which several workers fit them soonest.

    A long fit that began last would leave the other workers without work. A fit of
    unknown length may be long, and comes before all others. Fits of one length keep
    their order. `rates`: default, those that altbench brings.
    """
    known = rates or shipped()

    def rank(point: Checkpoint) -> float:
        seconds = fit_seconds(point, known)
        return -math.inf if seconds is None else -seconds

    return sorted(points, key=rank)


def cell_guess() -> float:
    """Return the seconds of an episode whose rate is unknown."""
    return RolloutJob.first_guess_s


def _steps(point: Checkpoint, rates: Rates) -> int:
    """Return the gradient steps of a fit; 0 if it has none, or if its settings cannot tell."""
    try:
        kind = registry.policy(point.policy).config_type
        settings = kind.parse(complete(kind, point.config), point.name)
        return steps_of(settings, int(point.n * rates.frames.get(point.task, FRAMES)))
    except Exception:  # a policy's own code; its fit says what is wrong with it
        return 0


def costs_of(run: Run, jobs: Mapping[str, Job]) -> dict[str, Cost]:
    """Return the cost of each job, by its key; no error of a damaged record stops it."""
    estimator = Estimator(run)
    try:
        return {key: estimator.cost(job) for key, job in jobs.items()}
    except AltbenchError:  # such as a damaged card: the run itself will report it
        return {key: Cost(job.name, WORK, None) for key, job in jobs.items()}


def first_guesses(run: Run, jobs: Iterable[Job], rates: Rates | None = None) -> dict[str, float]:
    """Return the seconds that jobs would take by the rates alone, by key, `LEAST_S` at least.

    Jobs that the rates do not know are left out. The pace of this run is learned as jobs
    end (runner/progress.py). `rates`: default, those that altbench brings.
    """
    estimator, found = Estimator(run, rates or shipped(), reads_run=False), {}
    for job in jobs:
        if isinstance(job, CollectJob | FitJob | RolloutJob | MeasureJob):
            seconds = estimator.cost(job).seconds
            if seconds is not None:
                found[job.key] = max(seconds, LEAST_S)
    return found


def in_words(seconds: float) -> str:
    """Return a duration, such as `40 s`, `12 min` or `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.3g} h"


def size_in_words(size: float) -> str:
    """Return a size, such as `12 MB` or `1.4 GB`."""
    return f"{max(size / 1e6, 1):.0f} MB" if size < 1e9 else f"{size / 1e9:.3g} GB"
