"""Dry runs: what sweeps ask for in a run's folder, what is done already, what is left,
and what that takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from rich.console import Console

from altbench.core.words import count
from altbench.results.run import Run
from altbench.runner.estimate import Cost, costs_of, in_words, size_in_words, total
from altbench.runner.jobs import CollectJob, FitJob, Job, MeasureJob, RolloutJob
from altbench.runner.main import needs_data, pending_jobs
from altbench.runner.rates import Rates, shipped
from altbench.sweeps.plan import Checkpoint, Plan
from altbench.system.console import FittingTable, say, show

MOST_NAMED = 3
"""How many jobs of unknown length are named."""


@dataclass(frozen=True)
class Work:
    """Fits, cells and measurements by key, each once even if several sweeps ask for it.

    `left`: the keys of those that are not done. `costs`: what each of these takes, and
    collecting the demonstrations that are missing, which is not one of `jobs`.
    """

    jobs: Mapping[str, Job] = field(default_factory=dict)
    left: frozenset[str] = frozenset()
    costs: Mapping[str, Cost] = field(default_factory=dict)

    def and_also(self, other: Work) -> Work:
        """Return both together; of two costs of one job the larger counts."""
        larger = {
            key: max((work.costs[key] for work in (self, other) if key in work.costs), key=lambda c: c.seconds or 0.0)
            for key in {**self.costs, **other.costs}
        }
        return Work({**self.jobs, **other.jobs}, self.left | other.left, larger)

    def beyond(self, before: Work) -> Work:
        """Return what is not in `before`."""
        return Work(
            {key: job for key, job in self.jobs.items() if key not in before.jobs},
            self.left - before.left,
            {key: cost for key, cost in self.costs.items() if key not in before.costs},
        )

    def summary(self) -> str:
        """Say in one line how much there is, how much is done, and how much is left."""
        done = [job for key, job in self.jobs.items() if key not in self.left]
        if not done:
            return f"{_counted(self.jobs.values())}; nothing of it is done yet"
        if not self.left:
            return f"{_counted(done)}; all of it is done"
        left = [self.jobs[key] for key in self.left]
        return f"{_counted(self.jobs.values())}; done: {_counted(done)}; left: {_counted(left)}"


def show_plan(console: Console, run: Run, before: Work | None = None) -> Work:
    """List what a sweep asks for and how far it is.

    Return that and the work `before` together. What was listed before is only counted.
    """
    before, plan = before or Work(), run.plan
    new = _without(plan, before)
    pending = pending_jobs(replace(run, plan=new))
    missing = [CollectJob(task) for task in run.data if needs_data(run, task)]
    costs = costs_of(run, {job.key: job for job in [*missing, *pending]})
    work = Work(_jobs(new), frozenset(job.key for job in pending), costs)
    if work.jobs:
        show(console, _table(plan, new, work))
        say(console, work.summary())
    shared = [job for key, job in _jobs(plan).items() if key in before.jobs]
    if shared:
        say(console, f"{plan.sweep.name}: listed above already: {_counted(shared)}")
    return before.and_also(work)


def show_cost(console: Console, work: Work, workers: int) -> None:
    """Say how long what is left takes with `workers` processes, and how much disk it fills."""
    if not work.costs:
        return
    found = total(work.costs.values(), workers)
    seconds = in_words(found.seconds + shipped().around_s)
    several = f"{workers} workers" if workers > 1 else "1 worker"
    say(
        console,
        f"left: about {seconds} with {several} on idle cores, and {size_in_words(found.bytes)} of disk; by the "
        f"run's own times and, where it has none, those of {_source(shipped())}",
    )
    if found.unknown:
        more = f" and {len(found.unknown) - MOST_NAMED} more" if len(found.unknown) > MOST_NAMED else ""
        named = ", ".join(found.unknown[:MOST_NAMED])
        say(console, ("not counted", "yellow"), f": {named}{more}; nobody has measured how long that takes")


def _source(rates: Rates) -> str:
    """Return where rates come from: machine, day, and how training in another precision is counted."""
    if not rates.precision:
        return f"{rates.machine} ({rates.measured})"
    other, times = ("fp32", rates.fp32_times) if rates.precision == "bf16" else ("bf16", 1 / rates.fp32_times)
    training = f"training in {rates.precision}; a machine that trains in {other} is counted {times:.2g} times as long"
    return f"{rates.machine} ({rates.measured}, {training})"


def _table(plan: Plan, new: Plan, work: Work) -> FittingTable:
    """Return a row for each checkpoint of `plan` with work in `new`."""
    # Most labels are their policy's name, and a second column of names costs its width.
    renamed = any(point.label != point.policy for point in plan.checkpoints)
    heads = ("checkpoint", *(("policy",) if renamed else ()), "preset", "fit", "cells", "episodes", "done")
    table = FittingTable(heads, f"{plan.sweep.name}: {plan.sweep.description}", prose=[1] if renamed else [])
    for point in plan.checkpoints:
        own = [RolloutJob(cell) for cell in new.cells if cell.checkpoint == point]
        if own or FitJob(point).key in work.jobs:
            episodes = sum(job.cell.episodes for job in own)
            done = sum(job.key not in work.left for job in own)
            policy = (point.policy,) if renamed else ()
            counts = map(str, (len(own), episodes, done))
            table.add(point.name, *policy, point.preset, _fit(point, work), *counts)
    return table


def _without(plan: Plan, before: Work) -> Plan:
    return replace(
        plan,
        checkpoints=tuple(c for c in plan.checkpoints if FitJob(c).key not in before.jobs),
        cells=tuple(c for c in plan.cells if RolloutJob(c).key not in before.jobs),
        measurements=tuple(m for m in plan.measurements if MeasureJob(m).key not in before.jobs),
    )


def _jobs(plan: Plan) -> dict[str, Job]:
    fits = [FitJob(c) for c in plan.checkpoints if c.trainable]
    jobs: list[Job] = [*fits, *map(RolloutJob, plan.cells), *map(MeasureJob, plan.measurements)]
    return {job.key: job for job in jobs}


def _fit(point: Checkpoint, work: Work) -> str:
    if not point.trainable:
        return "nothing to train"
    key = FitJob(point).key
    return "to do" if key in work.left else "done" if key in work.jobs else "listed above"


def _counted(jobs: Iterable[Job]) -> str:
    """Return `2 checkpoints, 3 cells (120 episodes), 2 measurements`, without zeros."""
    units: dict[str, list[int]] = {FitJob.kind: [], RolloutJob.kind: [], MeasureJob.kind: []}
    for job in jobs:
        units[job.kind].append(job.units)
    parts = [count(len(own), kind) for kind, own in units.items() if own]
    if units[RolloutJob.kind]:
        episodes = count(sum(units[RolloutJob.kind]), "episode")
        parts = [f"{part} ({episodes})" if f" {RolloutJob.kind}" in part else part for part in parts]
    return ", ".join(parts) or "nothing"
