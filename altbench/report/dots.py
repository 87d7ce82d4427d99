"""Plots of rates as dots with intervals: named rows, a panel for each named column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from rich.cells import cell_len

from altbench.report.style import Style, Styles, folded, headline


class Dot(NamedTuple):
    """A rate and its interval, all within [0, 1]."""

    rate: float
    low: float
    high: float


def draw_dots(
    title: str, rows: Sequence[str], columns: Sequence[str], dots: Mapping[tuple[str, str], Dot], styles: Styles
) -> Figure:
    """Draw the `dots` by (row, column), each in its row's style.

    A place without a dot stays empty. Call this inside `styled`.
    """
    names = [folded(row) for row in rows]
    lines = [line for name in names for line in name.split("\n")]
    width = 1.5 + 0.075 * max(map(cell_len, lines)) + 1.75 * len(columns)
    tallest = max(name.count("\n") for name in names)
    figure = Figure(figsize=(width, 1.2 + (0.3 + 0.16 * tallest) * len(rows)), layout="constrained")
    axes = figure.subplots(1, len(columns), sharex=True, sharey=True, squeeze=False)[0]
    for axis, column in zip(axes, columns, strict=True):
        _percent(axis)
        axis.set_title(column)
        for place, row in enumerate(rows):
            if (row, column) in dots:
                _draw(axis, dots[row, column], place, styles[row])
    axes[0].set_yticks(range(len(rows)), names)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    headline(figure, title)
    figure.supxlabel("success, Wilson 95 % interval", fontsize=axes[0].xaxis.label.get_fontsize())
    return figure


def _percent(axis: Axes) -> None:
    axis.set_xlim(-0.03, 1.03)
    axis.set_xticks([0, 0.5, 1])
    axis.xaxis.set_major_formatter(PercentFormatter(1.0))
    first, _, last = axis.get_xticklabels()
    first.set_horizontalalignment("left")  # apart from the last one of the panel before
    last.set_horizontalalignment("right")
    for edge in ("top", "right", "left"):
        axis.spines[edge].set_visible(False)


def _draw(axis: Axes, dot: Dot, place: int, style: Style) -> None:
    axis.plot([dot.low, dot.high], [place, place], color=style.colour, linewidth=1.6, solid_capstyle="butt", alpha=0.6)
    axis.plot(
        [dot.rate],
        [place],
        color=style.colour,
        marker=style.marker,
        markersize=6,
        linestyle="none",
        clip_on=False,
        zorder=3,
    )
