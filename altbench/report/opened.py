"""A run's folder for scripts: its records and tables as frames, and its comparison with another run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from altbench.core.errors import ResultsError, UnknownNameError
from altbench.report.compare import Comparison, compare
from altbench.results.frames import load_published, load_published_decisions
from altbench.results.measures import load_measures
from altbench.results.unchecked import warn_of_unchecked


@dataclass(frozen=True)
class OpenedRun:
    """A run's folder, finished, unfinished or published."""

    root: Path

    def episodes(self) -> pd.DataFrame:
        """Return a row per episode; results/README.md describes the columns."""
        return load_published(self.root)

    def decisions(self) -> pd.DataFrame:
        """Return a row per decision; results/README.md describes the columns."""
        return load_published_decisions(self.root)

    def measures(self) -> pd.DataFrame:
        """Return a row per measurement of time and memory (seconds, bytes)."""
        return pd.DataFrame([asdict(measure) for measure in load_measures(self.root)])

    def tables(self) -> list[str]:
        """Return the names of the run's tables, for `table`."""
        return sorted(path.stem for path in (self.root / "tables").glob("*.csv"))

    def table(self, name: str) -> pd.DataFrame:
        """Return one of the run's tables, such as "success": one row per number."""
        if name not in self.tables():
            raise UnknownNameError(f"table of {self.root}", name, self.tables())
        return pd.read_csv(self.root / "tables" / f"{name}.csv")

    def compare(self, new: OpenedRun | Path | str) -> Comparison:
        """Compare the run, as the base, with another one: cells by name, episodes by seed."""
        return compare(self.root, new.root if isinstance(new, OpenedRun) else Path(new))


def open_run(root: Path | str) -> OpenedRun:
    """Open the folder of a run; raise ResultsError if it holds no records."""
    root = Path(root)
    sets = sorted(path.name for path in root.glob("data*") if (path / "episodes.parquet").is_file())
    if sets and not (root / "episodes.parquet").is_file():
        raise ResultsError(f"{root}: holds the runs of several data sets; open one, such as {root / sets[0]}")
    if not ((root / "episodes.parquet").is_file() or (root / "cells").is_dir()):
        raise ResultsError(
            f"{root}: not a run's folder; expected episodes.parquet or cells/ in it, such as results/quick"
        )
    warn_of_unchecked(root)
    return OpenedRun(root)
