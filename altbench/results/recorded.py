"""The recorded cells of a plan, each file read once, held in little memory.

Tables and figures need no more than one condition at a time: `parts`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from altbench.core.types import Int64
from altbench.results import flat
from altbench.results.cells import EPISODE_SCHEMA, HEADER_SCHEMA, awaits_another_try
from altbench.results.flat import DECISION_ROWS, DECISIONS_FILE, EPISODES_FILE
from altbench.results.packed import Packed
from altbench.results.parquet import row_groups, write_parquet, write_parts
from altbench.rollout.records import NOT_COUNTED, OF_THE_POLICY, CellHeader
from altbench.sweeps.spec import CLEAN

if TYPE_CHECKING:
    import pandas as pd

MOST_DECISIONS = 64 * 2**20
"""Bytes of decisions that are held; of a run with more, cells are read again for them."""


class RecordedCell(NamedTuple):
    """A cell as its file holds it: its header, and an arrow table with one row per
    episode.
    """

    header: CellHeader
    table: Any


def condition_of(header: CellHeader) -> tuple[Any, ...]:
    """Return the condition of a cell: unperturbed ones come first on each split of a task."""
    return header.task, header.split, header.perturbation != CLEAN, header.perturbation, header.severity


@dataclass
class Recorded:
    """The recorded cells of a plan, without trajectories.

    `headers`: by key, in the plan's order. Missing and damaged cells are not among them.
    `read_decisions`: keys -> (key, a row per decision), for decisions that are not held.
    `most_decisions`: bytes of decisions that are held.
    """

    read_decisions: Callable[[Collection[str]], Iterable[tuple[str, Any]]]
    most_decisions: int = MOST_DECISIONS
    headers: dict[str, CellHeader] = field(default_factory=dict)
    _rows: Packed = field(default_factory=lambda: Packed(EPISODE_SCHEMA), repr=False)
    _decisions: Packed | None = field(default_factory=lambda: Packed(DECISION_ROWS), repr=False)
    _decision_bytes: int = 0
    _lost: dict[str, list[str]] = field(default_factory=dict, repr=False)
    _faulty: set[str] = field(default_factory=set, repr=False)

    def add(self, cell: RecordedCell) -> None:
        """Keep a cell."""
        key = cell.header.key
        self.headers[key] = cell.header
        if lost := awaits_another_try(cell.table):
            self._lost[key] = lost
        if set(cell.table["status"].to_pylist()) <= {*NOT_COUNTED, *OF_THE_POLICY}:
            self._faulty.add(key)
        self._rows.add(key, flat.in_order(cell.table, "episode"))
        if self._decisions is not None and "decisions" in cell.table.column_names:
            rows = flat.decision_rows(cell.table)
            self._decisions.add(key, rows)
            self._decision_bytes += rows.nbytes
            if self._decision_bytes > self.most_decisions:
                self._decisions = None

    def __contains__(self, key: str) -> bool:
        return key in self.headers

    def __len__(self) -> int:
        return len(self.headers)

    def count(self, key: str) -> int:
        """Return how many episodes a cell has."""
        return self._rows.rows(key)

    def is_finished(self, key: str) -> bool:
        """Return whether the cell `key` needs no more work, as `cells.is_finished`."""
        return key in self.headers and self.count(key) > 0 and not self.lost(key)

    def lost(self, key: str) -> list[str]:
        """Return why episodes of a cell could not be played (infra_error), one message
        each.
        """
        return self._lost.get(key, [])

    def is_faulty(self, key: str) -> bool:
        """Return whether no episode of a cell ended without an error of the policy's, or of ours."""
        return key in self._faulty

    def endings(self, key: str) -> list[tuple[str, str]]:
        """Return status and message of each episode of a cell, in order."""
        table = self._rows.of([key])[1]
        return list(zip(table["status"].to_pylist(), table["message"].to_pylist(), strict=True))

    def episodes(self, more: Any = None, keys: Collection[str] | None = None) -> pd.DataFrame:
        """Return one row per episode of the cells `keys` (None: all), as `load_episodes`;
        `more`: as `published_episodes`.
        """
        return flat.episodes_frame(joined(self._episode_pieces(keys), more, "episode"))

    def parts(self, chosen: Callable[[CellHeader], bool] = lambda _: True) -> Iterator[pd.DataFrame]:
        """Yield the episodes of one condition of a task after the other, in the order of
        `condition_of`; each has its rows as `episodes`.

        `chosen`: whether a cell is wanted. The column `spec_json` is categorical.
        """
        wanted = sorted(
            (h for h in self.headers.values() if chosen(h)), key=lambda h: (condition_of(h), flat.place_of(h))
        )
        for _, group in groupby(wanted, key=condition_of):
            own = list(group)
            yield _part(own, *self._rows.of([header.key for header in own]))

    def no_episodes(self) -> pd.DataFrame:
        """Return a part without rows."""
        return _part((), *self._rows.of(()))

    def decisions(self, keys: Collection[str] | None = None) -> pd.DataFrame:
        """Return one row per decision of the cells `keys` (None: all), as `load_decisions`."""
        wanted = [h for h in self.headers.values() if keys is None or h.key in keys]
        if self._decisions is not None:
            return flat.decisions_frame(pa.concat_tables(self._decision_pieces(wanted)))
        wanted.sort(key=flat.place_of)
        return flat.decisions_frame(flat.with_headers(wanted, *self._read([header.key for header in wanted])))

    def build_parquet(self, folder: Path | str) -> None:
        """Write episodes.parquet and decisions.parquet into `folder`.

        The same records give the same bytes.
        """
        write_parts(Path(folder) / EPISODES_FILE, self._episode_pieces())
        write_parts(Path(folder) / DECISIONS_FILE, self._decision_pieces(self.headers.values()))

    def write_episodes(self, folder: Path | str, more: Any = None) -> None:
        """Write episodes.parquet alone, which `load_episodes` reads; `more`: as `published_episodes`."""
        _write(Path(folder) / EPISODES_FILE, self._episode_pieces(), more, "episode")

    def write_decisions(self, folder: Path | str, more: Any = None) -> None:
        """Write decisions.parquet alone, which `load_decisions` reads; `more`: as `published_decisions`."""
        _write(Path(folder) / DECISIONS_FILE, self._decision_pieces(self.headers.values()), more, "episode", "step")

    def _episode_pieces(self, keys: Collection[str] | None = None) -> Iterator[Any]:
        wanted = self.headers.values() if keys is None else [self.headers[key] for key in keys]
        return flat.pieces(wanted, self._rows.of, self.count)

    def _decision_pieces(self, headers: Iterable[CellHeader]) -> Iterator[Any]:
        if self._decisions is not None:
            return flat.pieces(headers, self._decisions.of, self._decisions.rows)
        return flat.pieces(headers, self._read, self._many)

    def _many(self, key: str) -> int:
        """Return a number of rows that makes a piece of few cells, for cells that are read again."""
        return self.count(key) * 16

    def _read(self, keys: Sequence[str]) -> tuple[Int64, Any]:
        held = Packed(DECISION_ROWS)
        for key, rows in self.read_decisions(keys) if keys else ():
            held.add(key, rows)
        return held.of(keys)

    @classmethod
    def of_flat(cls, folder: Path) -> Recorded:
        """Return the records in the flat files of `folder`; at most one group of rows is held
        at once. ResultsError if they are missing or damaged.
        """
        episodes, decisions = folder / EPISODES_FILE, folder / DECISIONS_FILE
        flat.check_episodes(episodes)
        made = cls(partial(_flat_decisions, decisions), _decisions=None)
        for group in row_groups(episodes):
            table = flat.episode_columns(group, episodes)
            found = _cells_in(table)
            made.headers |= {header.key: header for header, _, _ in found}
            made._rows.add_many([(header.key, first, count) for header, first, count in found], table)
        return made


def _flat_decisions(path: Path, keys: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Yield key and decisions of the cells `keys` in a flat file; nothing without the file."""
    if not path.is_file():
        return
    flat.check_flat(path)
    wanted = pa.array(sorted(keys), pa.string())
    for group in row_groups(path, ["key", *DECISION_ROWS.names]):
        own = group.filter(pc.is_in(group["key"], wanted))
        for key, first, count in _runs(own):
            yield key, own.slice(first, count).select(DECISION_ROWS.names).cast(DECISION_ROWS)


def _part(headers: Sequence[CellHeader], owner: Int64, rows: Any) -> pd.DataFrame:
    """Return a part's frame. A specification has a kilobyte, and each row would have its own."""
    import pandas as pd  # here, since a worker makes no frames and need not wait for it

    specs = pd.Categorical([header.spec_json for header in headers])
    table = flat.with_headers(headers, owner, rows)
    thin = flat.episodes_frame(table.drop_columns(["spec_json"]))
    thin.insert(table.column_names.index("spec_json"), "spec_json", pd.Series(specs.take(owner)))
    return thin


def _write(path: Path, pieces: Iterable[Any], more: Any, *places: str) -> None:
    """Write pieces, and perhaps another flat table, in order; `places`: columns that order a cell's rows."""
    if more is None:
        write_parts(path, pieces)
    else:
        write_parquet(path, joined(pieces, more, *places))


def joined(pieces: Iterable[Any], more: Any, *places: str) -> Any:
    """Return pieces, and perhaps another flat table, as one arrow table in order.

    `places`: columns that order the rows of a cell.
    """
    table = pa.concat_tables(pieces)
    if more is None:
        return table
    own = more.select(table.column_names).cast(table.schema).replace_schema_metadata(None)
    order = [(name, "ascending") for name in (*flat.ORDER, *places)]
    return pa.concat_tables([table, own]).sort_by(order).combine_chunks()


def _runs(table: Any) -> list[tuple[str, int, int]]:
    """Return key, first row and number of rows of each run of equal keys in a flat table."""
    keys = table["key"].to_pylist()
    begins = [i for i, key in enumerate(keys) if i == 0 or key != keys[i - 1]]
    return [(keys[first], first, end - first) for first, end in zip(begins, [*begins[1:], len(keys)], strict=True)]


def _cells_in(table: Any) -> list[tuple[CellHeader, int, int]]:
    """Return header, first row and number of rows of each run of a cell's rows in a flat table."""
    runs = _runs(table)
    heads = table.select(HEADER_SCHEMA.names).take(pa.array([first for _, first, _ in runs], pa.int64()))
    return [(CellHeader(**head), *run[1:]) for head, run in zip(heads.to_pylist(), runs, strict=True)]
