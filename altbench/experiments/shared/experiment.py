"""What an experiment is: a question, the sweeps that answer it, and a report.

All experiments of one `altbench experiments run --out OUT` share the run folder
OUT/run, so that demonstrations, checkpoints and cells that several need are made once.
A report never starts work: it reads the records that exist, leaves missing numbers
empty, and names them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from altbench.experiments import About
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.figures import Figures, Tables, drawn
from altbench.experiments.shared.sections import Report
from altbench.experiments.shared.sweeps import Preset
from altbench.sweeps.spec import SweepSpec

Say = Callable[[str], None]
"""Shows one line of progress."""


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
