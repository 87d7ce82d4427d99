"""Success as a matrix of named rows and columns; missing numbers stay empty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn
from matplotlib.figure import Figure

from altbench.experiments.shared.experiment import ExperimentRun
from altbench.report.dots import Dot, draw_dots
from altbench.report.style import headline, styled, styles_beside_names
from altbench.report.success import POSES_NOTE, SEEDS_NOTE, SIGNIFICANT, TEST, beats_all
from altbench.report.table import Block, Table, percentage, rate_text
from altbench.stats.rates import RANKED_FROM, Rate, ranked, success_rate
from altbench.sweeps.plan import Cell
from altbench.sweeps.spec import CLEAN

Where = Mapping[str, Any]
"""Which episodes: columns of `results.load_episodes` and the value each must have."""

PLAIN_NOTE = "Successes/episodes, rate and Wilson 95 % interval. Empty: not measured." + POSES_NOTE
"""The note of a table whose rows are not compared."""
NOTE = (
    f"Successes/episodes, rate and Wilson 95 % interval. Bold: better than every other row ({TEST}, Holm-corrected,"
    f" p < {SIGNIFICANT}); fewer than {RANKED_FROM} episodes are not ranked. Empty: not measured." + POSES_NOTE
)
"""The note of a table whose rows are compared."""


@dataclass(frozen=True)
class Entry:
    """One number of a matrix; `absent` of its `cells` have no record."""

    rate: Rate
    cells: int
    absent: int
    best: bool


@dataclass(frozen=True)
class Matrix:
    """Rates by row and column, in the order in which both are shown."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    entries: Mapping[tuple[str, str], Entry]

    def rate(self, row: str, column: str) -> Rate:
        """Return one rate."""
        return self.entries[row, column].rate

    def text(self, row: str, column: str) -> str:
        """Return one number as tables show it; empty without any record."""
        entry = self.entries[row, column]
        partly = f" ({entry.cells - entry.absent} of {entry.cells} cells)" if 0 < entry.absent < entry.cells else ""
        return rate_text(entry.rate) + partly if entry.absent < entry.cells else ""


def clean(split: str, **where: Any) -> Where:
    """Name the unperturbed episodes of a split."""
    return {"split": split, "perturbation": CLEAN, **where}


def chosen(frame: pd.DataFrame, where: Where) -> pd.DataFrame:
    """Return the rows of `frame` that have the values `where`."""
    mask = pd.Series(True, index=frame.index)
    for column, value in where.items():
        mask &= frame[column] == value
    return frame[mask]


def cells_of(run: ExperimentRun, where: Where) -> list[Cell]:
    """Return the cells that `where` names, recorded or not."""
    return [cell for cell in run.cells if all(_values(cell)[name] == value for name, value in where.items())]


def recorded_cells(run: ExperimentRun, where: Where) -> list[Cell]:
    """Return the recorded cells that `where` names."""
    recorded = {cell.key for cell in run.recorded}
    return [cell for cell in cells_of(run, where) if cell.key in recorded]


def label_rows(run: ExperimentRun, labels: Iterable[str]) -> dict[str, Where]:
    """Make a row of each label that the run has cells of."""
    rows = {label: {"label": label} for label in labels}
    return {label: where for label, where in rows.items() if cells_of(run, where)}


def matrix(run: ExperimentRun, rows: Mapping[str, Where], columns: Mapping[str, Where]) -> Matrix:
    """Return the rates of the cells where each row and column meet.

    Rows without any cell are left out.
    """
    frame, recorded = run.episodes(), {cell.key for cell in run.told}
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
    """Return the matrix as a table; its CSV has one row per number.

    `names`: the head of the first column. `turned`: the matrix's columns become the
    table's rows, for few rows and many columns. The note says how several training
    seeds count.
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
    """Draw a panel per column, with a dot and its interval per row.

    None if nothing was measured.
    """
    if not any(entry.rate.episodes for entry in found.entries.values()):
        return None
    dots = {place: dot for place, entry in found.entries.items() if (dot := _dot(entry.rate)) is not None}
    with styled():
        return draw_dots(title, found.rows, found.columns, dots, styles_beside_names(found.rows))


def heat_map(title: str, found: Matrix) -> Figure | None:
    """Draw the rate in % in a field per column (downwards) and row (across).

    None if nothing was measured.
    """
    if not any(entry.rate.episodes for entry in found.entries.values()):
        return None
    rates = [[found.rate(row, column).value for row in found.rows] for column in found.columns]
    wide = max(
        0.75, 0.08 * max(map(len, found.rows))
    )  # a column in inches; narrower, and the names above would overlap
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
    """Return a cell's values in the columns of `results.load_episodes`."""
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
