"""Rows of many cells in few arrow tables.

A table for each cell takes tens of kilobytes, whatever it holds: every column has
buffers and objects of its own. So cells lie one after the other in tables of many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from altbench.core.types import Int64

CELLS = 512
"""How many cells a table holds."""


class Packed:
    """Rows of cells by key; `schema`: the columns that are kept."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._tables: list[Any] = []
        self._waiting: list[Any] = []
        self._waiting_rows = 0
        self._places: dict[str, list[tuple[int, int, int]]] = {}

    def add(self, key: str, table: Any) -> None:
        """Add rows of the cell `key` behind those that it has."""
        place = (len(self._tables), self._waiting_rows, table.num_rows)
        self._places.setdefault(key, []).append(place)
        self._waiting.append(table.select(self._schema.names).replace_schema_metadata(None))
        self._waiting_rows += table.num_rows
        if len(self._waiting) >= CELLS:
            self._pack()

    def add_many(self, rows: Sequence[tuple[str, int, int]], table: Any) -> None:
        """Add a table of many cells; `rows`: key, first row, and how many it has."""
        self._pack()
        for key, first, count in rows:
            self._places.setdefault(key, []).append((len(self._tables), first, count))
        self._tables.append(table.select(self._schema.names).replace_schema_metadata(None).combine_chunks())

    def _pack(self) -> None:
        if self._waiting:
            self._tables.append(pa.concat_tables(self._waiting).combine_chunks())
            self._waiting, self._waiting_rows = [], 0

    @property
    def bytes(self) -> int:
        """The bytes of all rows."""
        return sum(table.nbytes for table in (*self._tables, *self._waiting))

    def rows(self, key: str) -> int:
        """Return how many rows a cell has; 0 for one that is unknown."""
        return sum(count for _, _, count in self._places.get(key, ()))

    def of(self, keys: Sequence[str]) -> tuple[Int64, Any]:
        """Return the rows of cells in the order of `keys`: which key each row belongs to,
        as an index (rows,), and the rows as a table.
        """
        self._pack()
        pieces = [(at, *place) for at, key in enumerate(keys) for place in self._places.get(key, ())]
        by_table: dict[int, list[int]] = {}
        for number, (_, table, _, _) in enumerate(pieces):
            by_table.setdefault(table, []).append(number)
        read = [number for table in sorted(by_table) for number in by_table[table]]
        parts = [self._schema.empty_table()]
        for table in sorted(by_table):
            chosen = _ranges([pieces[number][2:] for number in by_table[table]])
            parts.append(self._tables[table].take(pa.array(chosen)))
        joined = pa.concat_tables(parts).combine_chunks()
        if read != sorted(read):  # they came table by table
            joined = joined.take(pa.array(_in_order(read, [piece[3] for piece in pieces])))
        owner = np.repeat(np.array([piece[0] for piece in pieces], np.int64), [piece[3] for piece in pieces])
        return owner, joined


def _ranges(places: Sequence[tuple[int, int]]) -> Int64:
    """Return the row numbers of (first row, number of rows), one after the other."""
    return np.concatenate([np.arange(first, first + count, dtype=np.int64) for first, count in places])


def _in_order(read: Sequence[int], counts: Sequence[int]) -> Int64:
    """Return which rows to take of pieces that lie in the order `read`, so that they come
    by number; `counts`: rows of each piece, by number.
    """
    first, begins = 0, dict.fromkeys(read, 0)
    for number in read:
        begins[number], first = first, first + counts[number]
    return _ranges([(begins[number], counts[number]) for number in sorted(read)])
