"""A run as its folder shows it: a finished run of this machine, or one published by another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from altbench.results import frames, history, measures
from altbench.results.run import Run
from altbench.rollout.records import MeasureRecord
from altbench.sweeps.spec import SweepSpec


@dataclass(frozen=True)
class PublishedRun:
    """A run's folder, read without a plan.

    Keys depend on versions, device, renderer and demonstrations. So the plan of this machine may
    find no cell of a run that another machine made, or an older installation. Here all records
    of the folder count. `sweep`: the last one that ran in the folder.
    """

    root: Path
    sweep: SweepSpec

    def episodes(self) -> pd.DataFrame:
        """Return one row per episode as the run last wrote them, as `results.load_episodes`."""
        return frames.load_published(self.root)

    def decisions(self) -> pd.DataFrame:
        """Return one row per decision as the run last wrote them, as `results.load_decisions`."""
        return frames.load_published_decisions(self.root)

    def measures(self) -> list[MeasureRecord]:
        """Return all measurements of time and memory in the folder."""
        return measures.load_measures(self.root)

    def planned(self, renderer: str | None = None) -> Run:
        """Return the run planned for this machine, which knows its checkpoints and demonstrations."""
        return Run.open(self.root, self.sweep, renderer)


def open_run(root: Path | str) -> PublishedRun:
    """Return the finished or published run in `root`; ResultsError if `root` is not a run's folder."""
    root = Path(root)
    return PublishedRun(root, history.load(root)[0])
