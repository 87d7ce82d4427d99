"""Success as a matrix: named rows against named columns of an experiment's cells, with what is missing left empty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn
from matplotlib.figure import Figure

from altbench.experiments.shared.experiment import Run
from altbench.report.dots import Dot, draw_dots
from altbench.report.style import headline, styled, styles_beside_names
from altbench.report.success import SEEDS_NOTE, SIGNIFICANT, beats_all
from altbench.report.table import Block, Table, percentage, rate_text
from altbench.stats.rates import RANKED_FROM, Rate, ranked, success_rate
from altbench.sweeps.plan import Cell
from altbench.sweeps.spec import CLEAN

Where = Mapping[str, Any]
"""Columns of `results.load_episodes` -> the value they must have."""

PLAIN_NOTE = "Successes/episodes, rate and Wilson 95 % interval. Empty: not measured."
"""Where rows have no episodes in common, so that none can be better."""
NOTE = (
    "Successes/episodes, rate and Wilson 95 % interval. Bold: better than every other row (exact McNemar test on the same"
    f" episodes, Holm-corrected, p < {SIGNIFICANT}); fewer than {RANKED_FROM} episodes are not ranked. Empty: not measured."
)


@dataclass(frozen=True)
class Entry:
    """One number of a matrix. `absent`: how many of its `cells` have no record."""

    rate: Rate
    cells: int
    absent: int
    best: bool


@dataclass(frozen=True)
class Matrix:
    """Rates by row and column; `rows` and `columns` in the order in which they are shown."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    entries: Mapping[tuple[str, str], Entry]

    def rate(self, row: str, column: str) -> Rate:
        """One rate."""
        return self.entries[row, column].rate

    def text(self, row: str, column: str) -> str:
        """One number as tables show it."""
        entry = self.entries[row, column]
        partly = f" ({entry.cells - entry.absent} of {entry.cells} cells)" if 0 < entry.absent < entry.cells else ""
        return rate_text(entry.rate) + partly if entry.absent < entry.cells else ""


def clean(split: str, **where: Any) -> Where:
    """The unperturbed episodes of a split."""
    return {"split": split, "perturbation": CLEAN, **where}


def chosen(frame: pd.DataFrame, where: Where) -> pd.DataFrame:
    """The rows of `frame` that have the values `where`."""
    mask = pd.Series(True, index=frame.index)
    for column, value in where.items():
        mask &= frame[column] == value
    return frame[mask]


def cells_of(run: Run, where: Where) -> list[Cell]:
    """The cells that `where` names, recorded or not."""
    return [cell for cell in run.cells if all(_values(cell)[name] == value for name, value in where.items())]


def recorded_cells(run: Run, where: Where) -> list[Cell]:
    """The cells that `where` names and that have a record."""
    recorded = {cell.key for cell in run.recorded}
    return [cell for cell in cells_of(run, where) if cell.key in recorded]


def label_rows(run: Run, labels: Iterable[str]) -> dict[str, Where]:
    """A row per label that the run has cells of."""
    rows = {label: {"label": label} for label in labels}
    return {label: where for label, where in rows.items() if cells_of(run, where)}


def matrix(run: Run, rows: Mapping[str, Where], columns: Mapping[str, Where]) -> Matrix:
    """Rates of the cells where a row and a column meet; rows that no cell belongs to are left out."""
    frame, recorded = run.episodes(), {cell.key for cell in run.recorded}
    kept = {name: where for name, where in rows.items() if cells_of(run, where)}
    entries = {}
    for head, column in columns.items():
        groups = {name: chosen(frame, {**where, **column}) for name, where in kept.items()}
        for name, where in kept.items():
            asked = cells_of(run, {**where, **column})
            absent = sum(cell.key not in recorded for cell in asked)
            others = [g for other, g in groups.items() if other != name and len(g)]
            best = _best(groups[name], others)
            entries[name, head] = Entry(success_rate(groups[name]), len(asked), absent, best)
    return Matrix(tuple(kept), tuple(columns), entries)


def matrix_table(title: str, found: Matrix, names: str = "policy", note: str = NOTE, turned: bool = False) -> Table:
    """The matrix as a table; the CSV has one row per number. The note says how training seeds count, where several do.

    `names`: what the first column names. `turned`: the matrix's columns are the table's rows, for few rows and many columns.
    """
    rows = [
        {
            **({"policy": row, names: column} if turned else {names: row, "column": column}),
            "successes": entry.rate.successes,
            "episodes": entry.rate.episodes,
            "rate": entry.rate.value,
            "low": entry.rate.low,
            "high": entry.rate.high,
            "seeds": len(entry.rate.seeds) or min(entry.rate.episodes, 1),
            "seed_low": min(entry.rate.seeds, default=None),
            "seed_high": max(entry.rate.seeds, default=None),
            "cells": entry.cells,
            "cells_missing": entry.absent,
            "best": entry.best,
        }
        for (row, column), entry in found.entries.items()
    ]
    note += SEEDS_NOTE if any(entry.rate.seeds for entry in found.entries.values()) else ""
    return Table(title, pd.DataFrame(rows), (_block(title, found, names, turned),), note)


def _block(title: str, found: Matrix, names: str, turned: bool) -> Block:
    down, across = (found.columns, found.rows) if turned else (found.rows, found.columns)
    places = [[(b, a) if turned else (a, b) for b in across] for a in down]
    texts = tuple((head, *(found.text(*place) for place in line)) for head, line in zip(down, places, strict=True))
    bold = frozenset(
        (i, j + 1) for i, line in enumerate(places) for j, place in enumerate(line) if found.entries[place].best
    )
    return Block(title, (names, *across), texts, bold, names=1)


def dot_plot(title: str, found: Matrix) -> Figure | None:
    """A panel per column, a dot with its interval per row; None where nothing was measured."""
    if not any(entry.rate.episodes for entry in found.entries.values()):
        return None
    dots = {place: dot for place, entry in found.entries.items() if (dot := _dot(entry.rate)) is not None}
    with styled():
        return draw_dots(title, found.rows, found.columns, dots, styles_beside_names(found.rows))


def heat_map(title: str, found: Matrix) -> Figure | None:
    """Columns of the matrix downwards, its rows across, the rate in % in each field; None where nothing was measured."""
    if not any(entry.rate.episodes for entry in found.entries.values()):
        return None
    rates = [[found.rate(row, column).value for row in found.rows] for column in found.columns]
    wide = max(0.75, 0.08 * max(map(len, found.rows)))  # of a column, so that the names above keep apart
    size = (1.9 + wide * len(found.rows), 1.1 + 0.235 * len(found.columns))
    with styled():
        figure = Figure(figsize=size, layout="constrained")
        axis = figure.subplots()
        values = np.array(rates, float)  # None becomes NaN, which is not drawn
        axis.imshow(values, vmin=0, vmax=1, cmap="cividis", aspect="auto")
        for i, j in zip(*np.nonzero(~np.isnan(values)), strict=True):
            ink = "black" if values[i, j] > 0.55 else "white"
            axis.text(j, i, percentage(float(values[i, j])), ha="center", va="center", color=ink, fontsize=7.5)
        axis.set_xticks(range(len(found.rows)), found.rows)
        axis.set_yticks(range(len(found.columns)), found.columns)
        axis.xaxis.tick_top()
        axis.grid(visible=False)
        seaborn.despine(ax=axis, left=True, bottom=True)
        headline(figure, title)
    return figure


def _dot(rate: Rate) -> Dot | None:
    if rate.value is None or rate.low is None or rate.high is None:
        return None
    return Dot(rate.value, rate.low, rate.high)


def _values(cell: Cell) -> dict[str, Any]:
    """A cell's values in the columns of `results.load_episodes`."""
    point = cell.checkpoint
    return {
        "task": point.task,
        "label": cell.label,
        "policy": point.policy,
        "n": point.n,
        "train_seed": point.train_seed,
        "split": cell.split,
        "perturbation": cell.condition,
        "severity": cell.severity,
    }


def _best(own: pd.DataFrame, others: Sequence[pd.DataFrame]) -> bool:
    return bool(others) and ranked(own) and beats_all(own, others)
