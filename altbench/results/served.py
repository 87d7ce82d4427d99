"""Which rows of a run another process decided, and what its server was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from altbench.core import registry
from altbench.core.errors import AltbenchError
from altbench.results.checked import check_key, load_checked
from altbench.results.run import Run
from altbench.system import sealed

FILE = "served.json"
"""Beside a run's records: checkpoint key -> name, and what its server was."""
COLUMN = "server"
"""The column that `with_served` adds."""
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
    if known:
        sealed.write_json(out / FILE, {"checkpoints": known})


def load_served(folder: Path) -> dict[str, dict[str, str]]:
    """Return what `FILE` in `folder` says; empty without it, or if it is damaged."""
    if not (folder / FILE).is_file():
        return {}
    try:
        read = sealed.read_json(folder / FILE, ("checkpoints",), "the next run writes it anew")
    except AltbenchError:
        return {}
    found: dict[str, dict[str, str]] = read["checkpoints"]
    return found


def with_served(frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return `frame` with `COLUMN`: what the server of a row was, empty if this process decided."""
    return adding_served(folder)(frame)


def adding_served(folder: Path) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return `with_served` for many frames of one run: the file is read once."""
    known = {key: value["server"] for key, value in load_served(folder).items()}
    return lambda frame: frame.assign(**{COLUMN: frame["checkpoint_key"].map(known).fillna("")}) if known else frame


def stateless_rows(frame: pd.DataFrame) -> list[str]:
    """Return the labels of rows whose server hears nothing of episodes, in order."""
    if COLUMN not in frame:
        return []
    told = frame[COLUMN].str.split(", ").map(lambda words: STATELESS in words)
    return sorted(set(frame.loc[told, "label"]))
