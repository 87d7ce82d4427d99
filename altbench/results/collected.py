"""How many demonstrations a run collected: the order of the first N depends on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from altbench.core.errors import AltbenchError
from altbench.results.folder import RunFolder
from altbench.sweeps.kept import load_kept
from altbench.sweeps.spec import SweepSpec

COLUMN = "collected"
"""The column with the number of demonstrations in the file of an episode's task."""


def with_collected(frame: pd.DataFrame, folder: Path, sweep: SweepSpec | None = None) -> pd.DataFrame:
    """Return `frame` with `COLUMN`; as it is if nothing tells the number.

    `frame`: as `load_episodes` returns that of the run in `folder`. `sweep`: the run's;
    None: the one that the folder keeps. A published run keeps no demonstrations, and is
    taken to hold as many as its sweep collects.
    """
    return adding_collected(folder, sweep)(frame)


def adding_collected(folder: Path, sweep: SweepSpec | None = None) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return `with_collected` for many frames of one run: files are looked at once."""
    sweep = sweep or _kept(folder)
    if sweep is None or sweep.demonstrations.file is not None:
        return lambda frame: frame
    held, usual = _held(folder, sweep), sweep.demonstrations.n
    return lambda frame: frame.assign(**{COLUMN: [held.get(str(task), usual) for task in frame["task"]]})


def _held(folder: Path, sweep: SweepSpec) -> Mapping[str, int]:
    """Return task -> number of demonstrations, of the files that are there.

    A file may hold more than the sweep collects, since it is extended in place.
    """
    from altbench.dataset.files import info

    found = {}
    for task in sweep.tasks:
        path = RunFolder(folder).demonstrations(task)
        try:
            found[task] = len(info(path).lengths) if path.is_file() else sweep.demonstrations.n
        except AltbenchError:  # damaged: the next run says so
            continue
    return found


def _kept(folder: Path) -> SweepSpec | None:
    try:
        return load_kept(folder / "sweep.json") if (folder / "sweep.json").is_file() else None
    except AltbenchError:
        return None
