"""Which rows of a run another process decided, and what its server was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from altbench.core import registry
from altbench.results.checked import check_key, load_checked
from altbench.results.notes import load_notes, save_notes
from altbench.results.run import Run

FILE = "served.json"
"""Beside a run's records: checkpoint key -> name, and what its server was."""
COLUMN = "server"
"""The column that `adding_served` adds."""
STATELESS = "stateless"
"""The word of a server that hears nothing of episodes."""


def write_served(run: Run, out: Path) -> None:
    """Write `FILE` into `out`, if another process decides for some row; what it knew before stays."""
    known = load_served(out)
    for cell in run.plan.cells:
        point = cell.checkpoint
        if registry.is_remote(point.policy) and point.key not in known:
            found = load_checked(run.root, check_key(cell))
            if found is not None and found.server:
                known[point.key] = {"name": point.name, "server": found.server}
    save_notes(known, out / FILE)


def load_served(folder: Path) -> dict[str, dict[str, str]]:
    """Return what `FILE` in `folder` says; empty without it, or if it is damaged."""
    return load_notes(folder / FILE)


def adding_served(folder: Path) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return what adds `COLUMN` to frames of a run, whose file is read once.

    It is what the server of a row was, empty if this process decided.
    """
    known = {key: value["server"] for key, value in load_served(folder).items()}
    return lambda frame: frame.assign(**{COLUMN: frame["checkpoint_key"].map(known).fillna("")}) if known else frame


def stateless_rows(frame: pd.DataFrame) -> list[str]:
    """Return the labels of rows whose server hears nothing of episodes, in order."""
    if COLUMN not in frame:
        return []
    told = frame[COLUMN].str.split(", ").map(lambda words: STATELESS in words)
    return sorted(set(frame.loc[told, "label"]))
