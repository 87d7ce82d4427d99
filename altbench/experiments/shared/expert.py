"""The audits' control in an experiment: the scripted expert on the audited episodes."""

from __future__ import annotations

from altbench.audit import expert
from altbench.experiments.shared.experiment import Say
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.rollout.records import EpisodeRecord
from altbench.sweeps.plan import Cell

EXPERT = expert.EXPERT


def play(run: ExperimentRun, say: Say) -> None:
    """Let the expert play every audited case that it has not played yet, unperturbed."""
    for cell in controls(run):
        expert.play(run.run_of(cell.checkpoint), cell, run.own, say)


def played(run: ExperimentRun) -> list[tuple[Cell, tuple[EpisodeRecord, ...]]]:
    """Return the expert's recorded cells and their episodes."""
    return expert.played(run.own, controls(run))


def missing(run: ExperimentRun) -> tuple[str, ...]:
    """Return the names of the expert's cells that are missing."""
    return tuple(cell.name for cell in controls(run) if not expert.is_played(run.own, cell))


def controls(run: ExperimentRun) -> list[Cell]:
    """Return the expert's cells for all that the sweeps ask for."""
    return expert.controls(run.cells)
