"""Records of a run: what was played, for tables, figures and any analysis.

`load_episodes(folder)` and `load_decisions(folder)` return flat frames.
`load_cells(folder)` returns the frozen records of altbench/rollout/records.py, with
every decision and step. All take the `keys` of a plan's cells, so that sweeps can share
a folder; without them all cells of the folder count. `load_recorded` reads a plan's
cells once for all of these. results/README.md describes the files and their columns.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from altbench.core.errors import ResultsError
from altbench.results.cells import (
    CELL_SCHEMA,
    CELLS,
    DECISION_TYPE,
    EPISODE_SCHEMA,
    HEADER_SCHEMA,
    awaits_another_try,
    cell_files,
    cell_path,
    read_table,
    to_result,
    to_table,
    with_added,
)
from altbench.results.parquet import read_parquet, write_parquet
from altbench.rollout.records import CellHeader, CellResult, EpisodeRecord

if TYPE_CHECKING:
    import pandas as pd

EPISODES_FILE, DECISIONS_FILE = "episodes.parquet", "decisions.parquet"
_FLAT_SCHEMA = pa.schema([*HEADER_SCHEMA, *EPISODE_SCHEMA, *DECISION_TYPE])
_ADVICE = "build the run's tables again"
_ORDER = ["task", "label", "n", "train_seed", "split", "perturbation", "severity", "name", "key", "episode"]

log = logging.getLogger(__name__)


class RecordedCell(NamedTuple):
    """A cell as its file holds it: its header, and an arrow table with one row per
    episode.
    """

    header: CellHeader
    table: Any


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
        return _episodes_frame(_read_episodes(path))
    return _episodes_frame(_episodes_table(_cells(folder, keys)))


def episodes_frame(header: CellHeader, episodes: Sequence[EpisodeRecord]) -> pd.DataFrame:
    """Return records that are in no folder as `load_episodes` returns those of a
    folder.
    """
    return _episodes_frame(_episodes_table([RecordedCell(header, to_table(episodes))]))


def load_published(folder: Path | str) -> pd.DataFrame:
    """Return `load_episodes` from episodes.parquet, as the run last wrote it, or from
    the cells if it is missing.

    A damaged file counts as missing if there are cells; else it is a ResultsError.
    """
    path = Path(folder) / EPISODES_FILE
    table = _unless_damaged(path, _read_episodes)
    return load_episodes(folder) if table is None else _episodes_frame(table)


def load_decisions(folder: Path | str, keys: Collection[str] | None = None) -> pd.DataFrame:
    """Return one row per decision with its cell and episode; `matches` and
    `similarities` are lists.
    """
    folder = Path(folder)
    path = folder / DECISIONS_FILE
    if keys is None and not (folder / CELLS).is_dir() and path.is_file():
        return _pandas(_read_flat(path), "is_ood", "boolean")
    return _pandas(_decisions_table(_cells(folder, keys)), "is_ood", "boolean")


def load_published_decisions(folder: Path | str) -> pd.DataFrame:
    """Return `load_decisions` from decisions.parquet, as the run last wrote it, or from
    the cells if it is missing.

    A damaged file counts as missing if there are cells; else it is a ResultsError.
    """
    path = Path(folder) / DECISIONS_FILE
    table = _unless_damaged(path, _read_flat)
    return load_decisions(folder) if table is None else _pandas(table, "is_ood", "boolean")


def is_flat_whole(folder: Path | str) -> bool:
    """Return whether both flat tables of a run are there and not damaged."""
    reads = ((EPISODES_FILE, _read_episodes), (DECISIONS_FILE, _read_flat))
    return all(_unless_damaged(Path(folder) / name, read, True) is not None for name, read in reads)


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
    for header, table in _cells(Path(folder), keys):
        try:
            yield to_result(cell_path(folder, header.key), header, table)
        except ResultsError as error:
            log.warning("left out: %s", error)


@dataclass(frozen=True)
class Recorded:
    """The recorded cells of a plan, each file read once, without trajectories.

    `cells`: key -> header and table. Missing and damaged cells are not among them.
    """

    cells: Mapping[str, RecordedCell]

    def __contains__(self, key: str) -> bool:
        return key in self.cells

    def is_finished(self, key: str) -> bool:
        """Return whether the cell `key` needs no more work, as `cells.is_finished`."""
        return key in self.cells and self.cells[key].table.num_rows > 0 and not self.lost(key)

    def lost(self, key: str) -> list[str]:
        """Return why episodes of a cell could not be played (infra_error), one message
        each.
        """
        return awaits_another_try(self.cells[key].table)

    def endings(self, key: str) -> list[tuple[str, str]]:
        """Return status and message of each episode of a cell, in order."""
        table = self.cells[key].table
        return list(zip(table["status"].to_pylist(), table["message"].to_pylist(), strict=True))

    def episodes(self, more: Any = None) -> pd.DataFrame:
        """Return one row per episode, as `load_episodes`; `more`: as `published_episodes`."""
        return _episodes_frame(_joined(_episodes_table(self._sorted()), more))

    def decisions(self) -> pd.DataFrame:
        """Return one row per decision, as `load_decisions`."""
        return _pandas(_decisions_table(self._sorted()), "is_ood", "boolean")

    def build_parquet(self, folder: Path | str) -> None:
        """Write episodes.parquet and decisions.parquet into `folder`.

        The same records give the same bytes.
        """
        write_parquet(Path(folder) / EPISODES_FILE, _episodes_table(self._sorted()))
        write_parquet(Path(folder) / DECISIONS_FILE, _decisions_table(self._sorted()))

    def write_episodes(self, folder: Path | str, more: Any = None) -> None:
        """Write episodes.parquet alone, which `load_episodes` reads; `more`: as `published_episodes`."""
        write_parquet(Path(folder) / EPISODES_FILE, _joined(_episodes_table(self._sorted()), more))

    def _sorted(self) -> list[RecordedCell]:
        return [self.cells[key] for key in sorted(self.cells)]


def published_episodes(folder: Path | str, names: Collection[str]) -> Any:
    """Return the episodes of the cells `names` that are published in `folder`, as an arrow table.

    None without the file.
    """
    path = Path(folder) / EPISODES_FILE
    if not path.is_file():
        return None
    table = _read_episodes(path)
    return table.filter(pc.is_in(table["name"], pa.array(sorted(names), pa.string())))


def _joined(table: Any, more: Any) -> Any:
    """Return both tables of episodes as one, in the order of every such table."""
    if more is None:
        return table
    parts = [table, more.select(table.column_names).cast(table.schema).replace_schema_metadata(None)]
    return pa.concat_tables(parts).sort_by([(name, "ascending") for name in _ORDER]).combine_chunks()


def load_recorded(folder: Path | str, keys: Iterable[str]) -> Recorded:
    """Return those of the cells `keys` that the run in `folder` has, in that order."""
    there = [key for key in keys if cell_path(folder, key).is_file()]
    cells = _cells(Path(folder), there)
    found = {h.key: RecordedCell(h, t.drop_columns(["trajectory"])) for h, t in cells}
    return Recorded({key: found[key] for key in there if key in found})


def _episodes_table(cells: Iterable[RecordedCell]) -> Any:
    parts = [_with_header(None, EPISODE_SCHEMA.empty_table())]
    parts += [_with_header(header, table.select(EPISODE_SCHEMA.names)) for header, table in cells]
    return pa.concat_tables(parts).sort_by([(name, "ascending") for name in _ORDER]).combine_chunks()


def _decisions_table(cells: Iterable[RecordedCell]) -> Any:
    wanted = [name for name in HEADER_SCHEMA.names if name != "spec_json"] + ["episode", "seed"]
    parts = []
    for header, table in [(None, CELL_SCHEMA.empty_table()), *cells]:
        decisions = table["decisions"].combine_chunks()
        # `take` repeats each episode's row once per decision, in the order in which
        # `list_flatten` gives the decisions. The empty table in front gives the columns
        # if there are no cells.
        owner = _with_header(header, table).select(wanted).take(pc.list_parent_indices(decisions))
        for field, column in zip(DECISION_TYPE, pc.list_flatten(decisions).flatten(), strict=True):
            owner = owner.append_column(field, column)
        parts.append(owner)
    order = [(name, "ascending") for name in [*_ORDER, "step"]]
    return pa.concat_tables(parts).sort_by(order).combine_chunks()


def _cells(folder: Path, keys: Collection[str] | None) -> Iterator[RecordedCell]:
    """Yield each readable cell, by key.

    ResultsError if two of all cells have the same name.
    """
    names: dict[str, str] = {}
    for path in cell_files(folder) if keys is None else (cell_path(folder, key) for key in sorted(keys)):
        try:
            header, table = read_table(path)
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


def _with_header(header: CellHeader | None, table: Any) -> Any:
    """Return `table` with the header's fields as first columns.

    `header`: None if `table` is empty.
    """
    values = {f.name: None for f in fields(CellHeader)} if header is None else asdict(header)
    for position, field in enumerate(HEADER_SCHEMA):
        column = pa.array([values[field.name]] * table.num_rows, field.type)
        table = table.add_column(position, field, column)
    return table.replace_schema_metadata(None)


def _read_episodes(path: Path) -> Any:
    table = _read_flat(path)
    try:
        return with_added(table, [*HEADER_SCHEMA.names, *EPISODE_SCHEMA.names])
    except KeyError as error:
        raise ResultsError(f"{path}: not a table of episodes ({error.args[0]}); {_ADVICE}") from None


def _read_flat(path: Path) -> Any:
    return read_parquet(path, _FLAT_SCHEMA, _ADVICE)[0]


def _episodes_frame(table: Any) -> pd.DataFrame:
    import pandas as pd  # here, since a worker makes no frames and need not wait for it

    frame = _pandas(table, "first_flagged_step", "Int64")
    return frame.assign(**{name: pd.array(table[name].to_pylist(), dtype="boolean") for name in ("flagged", "moved")})


def _pandas(table: Any, nullable: str, dtype: Any) -> pd.DataFrame:
    import pandas as pd

    frame: pd.DataFrame = table.to_pandas()
    return frame.assign(**{nullable: pd.array(table[nullable].to_pylist(), dtype=dtype)})
