"""Heat maps of rates: named rows in groups, a column per policy, a number in each field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import seaborn
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from rich.cells import cell_len

from altbench.report.drawing.layout import WIDEST, headline
from altbench.report.table import percentage

ROW = 0.21
"""Height of a row in inches."""
COLOURS = "cividis"
LIGHT = 0.55
"""Rates above this are on light ground, where black is easier to read than white."""


def draw_heat(
    title: str,
    groups: Mapping[str, Sequence[str]],
    columns: Sequence[str],
    names: Mapping[str, str],
    rates: Mapping[tuple[str, str], float],
) -> Figure:
    """Draw `rates` in % by (column, row). Call this inside `styled`.

    `groups`: the rows of each group, which stands apart from the next with its name at
    the left. `names`: how a column is called. A field without a rate stays empty.
    """
    wide = max(map(cell_len, (row for rows in groups.values() for row in rows)))
    each = max(0.62, 0.078 * max(cell_len(word) for column in columns for word in _broken(names[column]).split("\n")))
    counts = [len(rows) for rows in groups.values()]
    figure = Figure(
        figsize=(min(WIDEST, 0.8 + 0.07 * wide + each * len(columns)), 1.2 + ROW * sum(counts) + 0.1 * len(counts)),
        layout="constrained",
    )
    axes = figure.subplots(len(groups), 1, squeeze=False, gridspec_kw={"height_ratios": counts})[:, 0]
    for axis, (group, rows) in zip(axes, groups.items(), strict=True):
        values = np.array([[rates.get((column, row), np.nan) for column in columns] for row in rows], float)
        axis.imshow(values, vmin=0, vmax=1, cmap=COLOURS, aspect="auto", interpolation="nearest")
        for i, j in zip(*np.nonzero(~np.isnan(values)), strict=True):
            ink = to_hex("black" if values[i, j] > LIGHT else "white")
            axis.text(j, i, percentage(float(values[i, j])), ha="center", va="center", color=ink, fontsize=7.5)
        axis.set_yticks(range(len(rows)), rows)
        axis.set_xticks([])
        axis.grid(visible=False)
        axis.set_ylabel(group, fontweight="bold")
        seaborn.despine(ax=axis, left=True, bottom=True)
    axes[0].set_xticks(range(len(columns)), [_broken(names[column]) for column in columns])
    axes[0].xaxis.tick_top()
    axes[0].tick_params(axis="x", length=0)
    headline(figure, title)
    return figure


def _broken(name: str) -> str:
    """Return a name on two lines if it is long, broken at an underscore or a space."""
    if cell_len(name) <= 9:
        return name
    places = [i for i, letter in enumerate(name) if letter in "_ "]
    if not places:
        return name
    middle = min(places, key=lambda i: abs(i - len(name) / 2))
    return f"{name[:middle]}\n{name[middle:].strip()}"
