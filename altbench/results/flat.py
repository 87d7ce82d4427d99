"""Flat tables: a row per episode or per decision, with its cell's header in front.

Rows are in one order, by header and then by number. Tables are made in pieces of many
cells, so that a big run is written without being held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from altbench.core.errors import ResultsError
from altbench.core.types import Int64
from altbench.results.cells import DECISION_TYPE, EPISODE_SCHEMA, HEADER_SCHEMA, with_added
from altbench.results.parquet import check_parquet, read_parquet
from altbench.rollout.records import CellHeader

if TYPE_CHECKING:
    import pandas as pd

EPISODES_FILE, DECISIONS_FILE = "episodes.parquet", "decisions.parquet"
GROUP_ROWS = 65_536
"""Rows after which a flat file begins a new group; a piece has that many, and the rest of its last cell."""
FLAT_SCHEMA = pa.schema([*HEADER_SCHEMA, *EPISODE_SCHEMA, *DECISION_TYPE])
DECISION_ROWS = pa.schema([EPISODE_SCHEMA.field("episode"), EPISODE_SCHEMA.field("seed"), *DECISION_TYPE])
"""The columns of a decision's row but for its header."""
ADVICE = "build the run's tables again"
ORDER = ("task", "label", "n", "train_seed", "split", "perturbation", "severity", "name", "key")
_NOT_BESIDE_DECISIONS = "spec_json"

Rows = Callable[[Sequence[str]], tuple[Int64, Any]]
"""Keys -> which key each row belongs to, and the rows (`packed.Packed.of`)."""


def place_of(header: CellHeader) -> tuple[Any, ...]:
    """Return what the cells of every flat table are sorted by."""
    return tuple(getattr(header, name) for name in ORDER)


def in_order(table: Any, *names: str) -> Any:
    """Return the rows of a cell by the whole numbers in the columns `names`."""
    order = np.lexsort([table[name].to_numpy() for name in reversed(names)])
    return table if (order == np.arange(len(order))).all() else table.take(pa.array(order))


def decision_rows(table: Any) -> Any:
    """Return a cell's table (`cells.CELL_SCHEMA`) with a row per decision, `DECISION_ROWS`."""
    decisions = table["decisions"].combine_chunks()
    # `take` repeats each episode's row once per decision, in the order in which
    # `list_flatten` gives the decisions.
    owner = table.select(["episode", "seed"]).take(pc.list_parent_indices(decisions))
    for field, column in zip(DECISION_TYPE, pc.list_flatten(decisions).flatten(), strict=True):
        owner = owner.append_column(field, column)
    return in_order(owner.replace_schema_metadata(None).cast(DECISION_ROWS), "episode", "step")


def with_headers(headers: Sequence[CellHeader], owner: Int64, rows: Any) -> Any:
    """Return rows with the headers of their cells as first columns, as one arrow table."""
    of_decisions = "step" in rows.column_names
    fields = [field for field in HEADER_SCHEMA if not (of_decisions and field.name == _NOT_BESIDE_DECISIONS)]
    index = pa.array(owner)
    columns = [pa.array([getattr(h, f.name) for h in headers], f.type).take(index) for f in fields]
    return pa.Table.from_arrays(
        [*columns, *(rows[name].combine_chunks() for name in rows.column_names)],
        schema=pa.schema([*fields, *rows.schema]),
    )


def pieces(headers: Iterable[CellHeader], rows: Rows, count: Callable[[str], int]) -> Iterator[Any]:
    """Yield the flat table of cells in pieces; the first one is empty, and has the columns.

    `count`: key -> how many rows it has.
    """
    yield with_headers((), *rows(()))
    waiting: list[CellHeader] = []
    total = 0
    for header in sorted(headers, key=place_of):
        waiting.append(header)
        total += count(header.key)
        if total >= GROUP_ROWS:
            yield with_headers(waiting, *rows([one.key for one in waiting]))
            waiting, total = [], 0
    if total:
        yield with_headers(waiting, *rows([one.key for one in waiting]))


def read_episodes(path: Path) -> Any:
    """Return the arrow table in an episodes.parquet; ResultsError if it is not one."""
    return episode_columns(read_flat(path), path)


def episode_columns(table: Any, path: Path) -> Any:
    """Return the columns of a table of episodes in `path`, newer ones with nulls if it lacks them."""
    try:
        return with_added(table, [*HEADER_SCHEMA.names, *EPISODE_SCHEMA.names])
    except KeyError as error:
        raise ResultsError(f"{path}: not a table of episodes ({error.args[0]}); {ADVICE}") from None


def check_episodes(path: Path) -> Path:
    """Return `path`; ResultsError if it is no whole episodes.parquet. No row is held."""
    check_flat(path)
    episode_columns(pq.read_schema(path).empty_table(), path)
    return path


def check_flat(path: Path) -> Path:
    """Return `path`; ResultsError if it is no whole flat file. No row is held."""
    check_parquet(path, FLAT_SCHEMA, ADVICE)
    return path


def read_flat(path: Path) -> Any:
    """Return the arrow table in a flat file; ResultsError if it is missing or damaged."""
    return read_parquet(path, FLAT_SCHEMA, ADVICE)[0]


def episodes_frame(table: Any) -> pd.DataFrame:
    """Return an arrow table of episodes as a frame, as `load_episodes` describes it."""
    import pandas as pd  # here, since a worker makes no frames and need not wait for it

    frame = to_frame(table, "first_flagged_step", "Int64")
    return frame.assign(**{name: pd.array(table[name].to_pylist(), dtype="boolean") for name in ("flagged", "moved")})


def decisions_frame(table: Any) -> pd.DataFrame:
    """Return an arrow table of decisions as a frame, as `load_decisions` describes it."""
    return to_frame(table, "is_ood", "boolean")


def to_frame(table: Any, nullable: str, dtype: Any) -> pd.DataFrame:
    """Return an arrow table as a frame; the column `nullable` has the type `dtype`."""
    import pandas as pd

    frame: pd.DataFrame = table.to_pandas()
    return frame.assign(**{nullable: pd.array(table[nullable].to_pylist(), dtype=dtype)})
