"""Records of a run: what was played, for tables, figures and any analysis.

`load_episodes(folder)` and `load_decisions(folder)` return flat frames.
`load_cells(folder)` returns the frozen records of altbench/rollout/records.py, with
every decision and step. All take the `keys` of a plan's cells, so that sweeps can share
a folder; without them all cells of the folder count. `load_recorded` reads a plan's
cells once for all of these. results/README.md describes the files and their columns.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from altbench.core.errors import ResultsError
from altbench.results import flat
from altbench.results.cells import (
    CELL_SCHEMA,
    CELLS,
    WITHOUT_MOTION,
    cell_files,
    cell_path,
    read_table,
    to_result,
    to_table,
)
from altbench.results.recorded import Recorded, RecordedCell
from altbench.rollout.records import CellHeader, CellResult, EpisodeRecord

EPISODES_FILE, DECISIONS_FILE = flat.EPISODES_FILE, flat.DECISIONS_FILE

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def load_episodes(folder: Path | str, keys: Collection[str] | None = None) -> pd.DataFrame:
    """Return one row per episode with its cell's header, in a fixed order.

    `keys`: the cells to read; None: all. Unreadable cells are left out, with a warning.
    `first_flagged_step` is Int64, `flagged` and `moved` are boolean, all nullable;
    missing scores are NaN. A published run has episodes.parquet and no cells/, and is
    read from that.
    """
    folder = Path(folder)
    path = folder / EPISODES_FILE
    if keys is None and not (folder / CELLS).is_dir() and path.is_file():
        return flat.episodes_frame(flat.read_episodes(path))
    return _recorded(_cells(folder, keys)).episodes()


def episodes_frame(header: CellHeader, episodes: Sequence[EpisodeRecord]) -> pd.DataFrame:
    """Return records that are in no folder as `load_episodes` returns those of a
    folder.
    """
    return _recorded([RecordedCell(header, to_table(episodes))]).episodes()


def load_published(folder: Path | str) -> pd.DataFrame:
    """Return `load_episodes` from episodes.parquet, as the run last wrote it, or from
    the cells if it is missing.

    A damaged file counts as missing if there are cells; else it is a ResultsError.
    """
    path = Path(folder) / EPISODES_FILE
    table = _unless_damaged(path, flat.read_episodes)
    return load_episodes(folder) if table is None else flat.episodes_frame(table)


def load_decisions(folder: Path | str, keys: Collection[str] | None = None) -> pd.DataFrame:
    """Return one row per decision with its cell and episode; `matches` and
    `similarities` are lists.
    """
    folder = Path(folder)
    path = folder / DECISIONS_FILE
    if keys is None and not (folder / CELLS).is_dir() and path.is_file():
        return flat.decisions_frame(flat.read_flat(path))
    return _recorded(_cells(folder, keys)).decisions()


def load_published_decisions(folder: Path | str) -> pd.DataFrame:
    """Return `load_decisions` from decisions.parquet, as the run last wrote it, or from
    the cells if it is missing.

    A damaged file counts as missing if there are cells; else it is a ResultsError.
    """
    path = Path(folder) / DECISIONS_FILE
    table = _unless_damaged(path, flat.read_flat)
    return load_decisions(folder) if table is None else flat.decisions_frame(table)


def is_flat_whole(folder: Path | str) -> bool:
    """Return whether both flat tables of a run are there and not damaged."""
    checks = ((EPISODES_FILE, flat.check_episodes), (DECISIONS_FILE, flat.check_flat))
    return all(_unless_damaged(Path(folder) / name, check, True) is not None for name, check in checks)


def _recorded(cells: Iterable[RecordedCell]) -> Recorded:
    """Return cells with their decisions, however many these are."""
    made = Recorded(lambda _: (), most_decisions=sys.maxsize)  # nothing is read again
    for cell in cells:
        made.add(cell)
    return made


def _unless_damaged(path: Path, read: Callable[[Path], Any], replaceable: bool = False) -> Any:
    """Return the flat table in `path`; None if it is missing, or damaged but made of
    cells that are there.

    `replaceable`: whether None is right for a damaged one without cells, too. If not,
    it raises ResultsError.
    """
    if not path.is_file():
        return None
    try:
        return read(path)
    except ResultsError as error:
        if not replaceable and not (path.parent / CELLS).is_dir():
            raise
        log.warning("counts as missing: %s", error)
        return None


def load_cells(folder: Path | str, keys: Collection[str] | None = None) -> Iterator[CellResult]:
    """Yield the cells `keys`, or all, as frozen records with decisions and
    trajectories.

    Unreadable cells are left out, with a warning.
    """
    for header, table in _cells(Path(folder), keys, CELL_SCHEMA.names):
        try:
            yield to_result(cell_path(folder, header.key), header, table)
        except ResultsError as error:
            log.warning("left out: %s", error)


def published_episodes(folder: Path | str, names: Collection[str]) -> Any:
    """Return the episodes of the cells `names` that are published in `folder`, as an arrow table.

    None without the file.
    """
    return _published(Path(folder) / EPISODES_FILE, flat.read_episodes, names)


def published_decisions(folder: Path | str, names: Collection[str]) -> Any:
    """Return the decisions of the cells `names` that are published in `folder`, as `published_episodes`."""
    return _published(Path(folder) / DECISIONS_FILE, flat.read_flat, names)


def _published(path: Path, read: Callable[[Path], Any], names: Collection[str]) -> Any:
    """Return the rows of the cells `names` in a flat table; None without the file."""
    if not path.is_file():
        return None
    table = read(path)
    return table.filter(pc.is_in(table["name"], pa.array(sorted(names), pa.string())))


def load_recorded(folder: Path | str, keys: Iterable[str]) -> Recorded:
    """Return those of the cells `keys` that the run in `folder` has, in that order."""
    folder = Path(folder)
    there = [key for key in keys if cell_path(folder, key).is_file()]
    made = Recorded(partial(_decisions_of, folder))
    for cell in _cells(folder, there):
        made.add(cell)
    made.headers = {key: made.headers[key] for key in there if key in made.headers}
    return made


def load_parts(folder: Path | str) -> Recorded:
    """Return all records of a run's folder as `load_published` finds them, in little memory."""
    folder = Path(folder)
    path = folder / EPISODES_FILE
    found: Recorded | None = _unless_damaged(path, lambda path: Recorded.of_flat(path.parent))
    if found is not None:
        if (folder / CELLS).is_dir() and _unless_damaged(folder / DECISIONS_FILE, flat.check_flat) is None:
            found.read_decisions = partial(_decisions_of, folder)
        return found
    made = Recorded(partial(_decisions_of, folder))
    for cell in _cells(folder, None):
        made.add(cell)
    return made


def _decisions_of(folder: Path, keys: Collection[str]) -> Iterator[tuple[str, Any]]:
    yield from ((header.key, flat.decision_rows(table)) for header, table in _cells(folder, keys))


def _cells(
    folder: Path, keys: Collection[str] | None, columns: Sequence[str] = WITHOUT_MOTION
) -> Iterator[RecordedCell]:
    """Yield each readable cell, by key.

    ResultsError if two of all cells have the same name.
    """
    names: dict[str, str] = {}
    for path in cell_files(folder) if keys is None else (cell_path(folder, key) for key in sorted(keys)):
        try:
            header, table = read_table(path, columns)
            if header.key != path.stem:
                raise ResultsError(f"{path}: holds the cell {header.key}; it was renamed")
        except ResultsError as error:
            log.warning("left out: %s", error)
            continue
        if keys is None and names.setdefault(header.name, header.key) != header.key:
            raise ResultsError(
                f"{folder}: two cells are called {header.name!r}, so one is left from an earlier configuration;"
                f" run the sweep again, or delete the older of {header.key}.parquet and {names[header.name]}.parquet"
            )
        yield RecordedCell(header, table)
