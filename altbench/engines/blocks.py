"""A plan's jobs in blocks: what one worker claims at once.

A small run has a block for each job. A big one has blocks of several cells, so that
there are never more than `MOST_BLOCKS` claims. Fits come first, one each. All
measurements are one block, the last: one machine makes them, when nothing else is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from altbench.core.spec import digest
from altbench.results import cells, measures
from altbench.results.run import Run
from altbench.runner.estimate import longest_first
from altbench.runner.jobs import FitJob, Job, MeasureJob, RolloutJob
from altbench.runner.main import needs_fit
from altbench.sweeps.plan import Cell, Plan
from altbench.system.lease import Proof

MOST_BLOCKS = 65_536
"""The most blocks of cells."""


@dataclass(frozen=True)
class Layout:
    """The blocks of a plan, by number: fits, then cells, then all measurements."""

    plan: Plan

    @cached_property
    def fits(self) -> list[int]:
        """The checkpoints that are fitted, as indices into the plan's, the longest fit first."""
        index_of = {point.key: index for index, point in enumerate(self.plan.checkpoints)}
        return [index_of[point.key] for point in longest_first(p for p in self.plan.checkpoints if p.trainable)]

    @cached_property
    def size(self) -> int:
        """How many cells a block has."""
        return max(1, -(-len(self.plan.cells) // MOST_BLOCKS))

    @property
    def cell_blocks(self) -> int:
        """How many blocks of cells there are."""
        return -(-len(self.plan.cells) // self.size)

    @property
    def total(self) -> int:
        """How many blocks there are."""
        return len(self.fits) + self.cell_blocks + bool(self.plan.measurements)

    def is_last(self, number: int) -> bool:
        """Return whether a block waits for all others."""
        return number == len(self.fits) + self.cell_blocks

    def needs(self, number: int) -> set[int]:
        """Return the blocks of fits that a block of cells waits for."""
        first = number - len(self.fits)
        if first < 0 or self.is_last(number):
            return set()
        points = {cell.checkpoint.key for cell in self._cells(first)}
        return {self._fit_of[key] for key in points if key in self._fit_of}

    def jobs(self, number: int, older: dict[str, Sequence[str]], proof: Proof) -> list[Job]:
        """Return a block's jobs. `older`: cell's key -> keys of cells that hold its
        episodes. `proof`: of the claim on the block.
        """
        if number < len(self.fits):
            return [FitJob(self.plan.checkpoints[self.fits[number]], proof)]
        if self.is_last(number):
            return [MeasureJob(one) for one in self.plan.measurements]
        own = self._cells(number - len(self.fits))
        return [RolloutJob(cell, older=tuple(older.get(cell.key, ())), proof=proof) for cell in own]

    def _cells(self, first: int) -> Sequence[Cell]:
        return self.plan.cells[first * self.size : (first + 1) * self.size]

    @cached_property
    def _fit_of(self) -> dict[str, int]:
        return {self.plan.checkpoints[index].key: number for number, index in enumerate(self.fits)}


def is_done(run: Run, job: Job) -> bool:
    """Return whether a job's result is in the run's folder and needs no more work."""
    if isinstance(job, FitJob):
        return not needs_fit(run, job.checkpoint)
    if isinstance(job, RolloutJob):
        return cells.is_finished(run.root, job.cell.key)
    return isinstance(job, MeasureJob) and measures.is_measured(run.root, job.measurement.key)


def keys_digest(plan: Plan) -> str:
    """Return a digest of all keys of a plan in order, and of the order of its fits.

    Workers of one run must number its blocks alike.
    """
    return digest(
        {
            "fits": Layout(plan).fits,
            "checkpoints": [one.key for one in plan.checkpoints],
            "cells": [one.key for one in plan.cells],
            "measurements": [one.key for one in plan.measurements],
        }
    )
