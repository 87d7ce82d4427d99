"""The published runs in results/, as tests read them: which sweep made which keys, on what, with which settings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from altbench.sweeps.kept import as_kept
from altbench.sweeps.rows import Provenance
from altbench.sweeps.spec import SweepSpec

RESULTS = Path(__file__).parents[1] / "results"
SWEEPS = ("quick", "reference", "compact", "alt-plus", "tasks-small")
"""The runs with a sweep.json beside their records."""


@dataclass(frozen=True)
class Published:
    """A published run: its sweep, what its numbers depend on besides, and one row per cell of its records.

    Of the demonstrations only the checksum of each task's largest subset is published (fingerprint.json).
    """

    sweep: SweepSpec
    provenance: Provenance
    cells: pd.DataFrame
    measures: frozenset[str]


def cells(folder: Path) -> pd.DataFrame:
    """Return the first row of each cell in `folder`'s episodes.parquet, indexed by the cell's name."""
    rows: pd.DataFrame = pd.read_parquet(folder / "episodes.parquet").drop_duplicates("key").set_index("name")
    return rows


def settings(cell: pd.Series[Any]) -> dict[str, Any]:
    """Return the complete policy settings that a published cell was run with."""
    found: dict[str, Any] = json.loads(cell.spec_json)["config"]
    return found


def load(name: str) -> Published:
    """Read the run results/NAME."""
    folder = RESULTS / name
    rows = cells(folder)
    sweep = as_kept(SweepSpec.parse(json.loads((folder / "sweep.json").read_text()), name))
    made = json.loads(rows.spec_json.iloc[0])
    largest = max(n for entry in sweep.policies for n in entry.n)
    checksums = json.loads((folder / "fingerprint.json").read_text())["data"].split()
    data = {(task, largest): checksum for task, checksum in zip(sorted(sweep.tasks), checksums, strict=True)}
    return Published(
        sweep,
        Provenance(made["versions"], made["device"], made["renderer"], data, made["protocol"]),
        rows,
        frozenset(path.stem for path in (folder / "measures").glob("*.json")),
    )
