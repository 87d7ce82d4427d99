"""Success as a matrix of named rows and columns; missing numbers stay empty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.texts import UNCONVERGED_NOTE
from altbench.report.dots import Dot, draw_dots
from altbench.report.drawing.heat import draw_heat
from altbench.report.drawing.order import labels_in_order
from altbench.report.drawing.stars import NO_STARS, Shown, Stars, starred, stars_of
from altbench.report.privileged import is_privileged, marked
from altbench.report.style import Styles, policy_styles, styled, styles_beside_names, words
from altbench.report.success import HOLM, POSES_NOTE, SEEDS_NOTE, SIGNIFICANT, TEST, beats_all
from altbench.report.table import Block, Table, rate_text
from altbench.results.training import COLUMN
from altbench.stats.rates import RANKED_FROM, Rate, ranked, success_rate
from altbench.sweeps.plan import Cell
from altbench.sweeps.spec import CLEAN

Where = Mapping[str, Any]
"""Which episodes: columns of `results.load_episodes` and the value each must have."""

PLAIN_NOTE = "Successes/episodes, rate and Wilson 95 % interval. Empty: not measured." + POSES_NOTE
"""The note of a table whose rows are not compared."""
NOTE = (
    f"Successes/episodes, rate and Wilson 95 % interval. Bold: better than every other row ({TEST}, Holm-corrected,"
    f" p < {SIGNIFICANT}); fewer than {RANKED_FROM} episodes are not ranked, nor are privileged rows, which see the"
    f" task's state. {HOLM.format(part='condition')} Empty: not measured; while a row lacks episodes of a column, no row"
    " is bold there." + POSES_NOTE
)
"""The note of a table whose rows are compared."""


@dataclass(frozen=True)
class Entry:
    """One number of a matrix; `absent` of its `cells` have no record.

    `converged`: False if a network of its episodes has not.
    """

    rate: Rate
    cells: int
    absent: int
    best: bool
    converged: bool = True


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
        shown = rate_text(entry.rate) + partly
        return starred(shown, not entry.converged) if entry.absent < entry.cells else ""


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


def has_published(run: ExperimentRun, where: Where) -> bool:
    """Return whether any cell with these values has its episodes from published records."""
    published = {cell.key for cell in run.from_published}
    return any(cell.key in published for cell in cells_of(run, where))


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
        asked = {name: cells_of(run, {**where, **column}) for name, where in kept.items()}
        absent = {name: [cell for cell in cells if cell.key not in recorded] for name, cells in asked.items()}
        # Nothing is said to beat what may still improve: a row that was not played, or has not converged.
        open_rows = any(not is_privileged(cell.checkpoint.policy) for cells in absent.values() for cell in cells)
        open_rows |= not all(map(converged, groups.values()))
        for name in kept:
            others = [g for other, g in groups.items() if other != name and len(g) and _sees_images(g)]
            best = not open_rows and _sees_images(groups[name]) and _best(groups[name], others)
            rate = success_rate(groups[name])
            entries[name, head] = Entry(rate, len(asked[name]), len(absent[name]), best, converged(groups[name]))
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
    short = not all(entry.converged for entry in found.entries.values())
    note += UNCONVERGED_NOTE if short else ""
    data = pd.DataFrame(rows)
    data = data.assign(converged=[entry.converged for entry in found.entries.values()]) if short else data
    return Table(title, data, (_block(title, found, names, turned),), note)


def _block(title: str, found: Matrix, names: str, turned: bool) -> Block:
    down, across = (found.columns, found.rows) if turned else (found.rows, found.columns)
    places = [[(b, a) if turned else (a, b) for b in across] for a in down]
    heads = [marked(head, head) for head in down] if names == "policy" else down
    texts = tuple((head, *(found.text(*place) for place in line)) for head, line in zip(heads, places, strict=True))
    bold = frozenset(
        (i, j + 1) for i, line in enumerate(places) for j, place in enumerate(line) if found.entries[place].best
    )
    return Block(title, (names, *across), texts, bold, names=1)


def dot_plot(title: str, data: pd.DataFrame, names: str = "policy", column: str = "column") -> Figure | None:
    """Draw a panel per column that was measured, with a dot and its interval per row.

    `data`: that of `matrix_table`, or several of them one after the other; `names` and
    `column` are its columns with the row's and the column's name. None if nothing was
    measured.
    """
    known = data.dropna(subset=["rate"]).drop_duplicates([names, column])
    if known.empty:
        return None
    labels = list(dict.fromkeys(data[names]))
    order = labels_in_order(labels) if names == "policy" else labels
    dots = {(("", row), words(c)): Dot(rate, low, high) for row, c, rate, low, high in _rates(known, names, column)}
    heads = [words(head) for head in dict.fromkeys(data[column]) if head in set(known[column])]
    rows = [("", label) for label in order if label in set(known[names])]
    stars = stars_in(known, names, column)
    rowed = Stars(frozenset(("", row) for row in stars.rows), stars.note)
    return draw_dots(title, rows, heads, dots, row_styles(data, names), stars=rowed)


def row_styles(data: pd.DataFrame, names: str = "policy") -> Styles:
    """Return the styles of the rows of `matrix_table`'s data; `names`: their column.

    Policies have their own; other rows, which their names alone identify, are plain.
    """
    return policy_styles(data[names]) if names == "policy" else styles_beside_names(data[names])


def stars_in(known: pd.DataFrame, names: str = "policy", column: str = "column") -> Stars:
    """Return the stars of the rows in `known`, the measured numbers of `matrix_table`'s data.

    `names` and `column`: its columns with the row's and the column's name.
    """
    if COLUMN not in known:
        return NO_STARS
    late = known[COLUMN].isin([False])  # empty in tables whose networks have all converged
    return stars_of(Shown(*row) for row in zip(known[names], known[names], known[column].map(words), late, strict=True))


def heat_map(title: str, groups: Mapping[str, pd.DataFrame], names: str) -> Figure | None:
    """Draw the rate in % in a field per policy (across) and row (downwards).

    `groups`: the data of turned `matrix_table`s by the name of the group; `names`: the
    column with the rows' names. None if nothing was measured.
    """
    data = pd.concat(groups.values(), ignore_index=True)
    known = data.dropna(subset=["rate"])
    if known.empty:
        return None
    columns = labels_in_order(known["policy"])
    styles, stars = row_styles(data), stars_in(known, "policy", names)
    called = {label: stars.named(label, styles[label].name) for label in columns}
    rates = {(policy, row): rate for policy, row, rate, _, _ in _rates(known, "policy", names)}
    rows = {group: list(dict.fromkeys(one[names])) for group, one in groups.items()}
    with styled():
        return draw_heat(stars.under(title), rows, columns, called, rates)


def _rates(data: pd.DataFrame, *names: str) -> Iterable[tuple[str, str, float, float, float]]:
    return data[[*names, "rate", "low", "high"]].itertuples(index=False, name=None)


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


def converged(episodes: pd.DataFrame) -> bool:
    """Return whether every network behind `episodes` has converged, as far as is known."""
    return COLUMN not in episodes or bool(episodes[COLUMN].all())


def _sees_images(episodes: pd.DataFrame) -> bool:
    """Return whether a row is ranked: its policy does not see the task's state."""
    return not any(map(is_privileged, set(episodes["policy"])))


def _best(own: pd.DataFrame, others: Sequence[pd.DataFrame]) -> bool:
    return bool(others) and ranked(own) and beats_all(own, others)
