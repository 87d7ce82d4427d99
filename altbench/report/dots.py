"""Plots of rates as dots with intervals: named rows, a panel for each named column."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.cells import cell_len

from altbench.report.drawing.layout import WIDEST, headline
from altbench.report.drawing.stars import NO_STARS, Stars
from altbench.report.style import Style, Styles, folded, per_cent

ROW = 0.25
"""Height of a row in inches."""
COLUMN = (1.05, 2.1)
"""Width of a panel in inches: the least, and the greatest."""
LETTER = 0.09
"""Width of a letter of a panel's title in inches: a longer title than the panel is folded."""
RATES = "success, 95 % interval"
"""What the axis of a plot of success says."""


class Dot(NamedTuple):
    """A rate and its interval, all within [0, 1]; `parts`: the rates that it is the mean of."""

    rate: float
    low: float
    high: float
    parts: tuple[float, ...] = ()


Row = tuple[str, str]
"""A row's group (empty: none) and its label."""


def draw_dots(
    title: str,
    rows: Sequence[Row],
    columns: Sequence[str],
    dots: Mapping[tuple[Row, str], Dot],
    styles: Styles,
    axis_label: str = RATES,
    stars: Stars = NO_STARS,
) -> Figure:
    """Draw the `dots` by (row, column), each in its row's style.

    Each group has a line of its own with its name, above its rows. A place without a dot
    stays empty. Call this inside `styled`.
    """
    places, names, heads = lanes(rows, styles, stars)
    figure, axes = lane_panels(names, len(columns))
    for axis, column in zip(axes, columns, strict=True):
        _rates(axis)
        axis.set_title(textwrap.fill(column, int(figure.get_figwidth() / len(columns) / LETTER)))
        for row, place in places.items():
            if (row, column) in dots:
                _draw(axis, dots[row, column], place, styles[row[1]])
    name_lanes(axes[0], names, heads)
    headline(figure, stars.under(title))
    figure.supxlabel(axis_label, fontsize=axes[0].xaxis.label.get_fontsize())
    return figure


def lanes(rows: Sequence[Row], styles: Styles, stars: Stars = NO_STARS) -> tuple[dict[Row, int], list[str], set[int]]:
    """Return each row's place, the name at every place, and the places of groups' names."""
    places: dict[Row, int] = {}
    names: list[str] = []
    heads: set[int] = set()
    for row in rows:
        group, label = row
        if group and group not in {g for g, _ in places}:
            heads.add(len(names))
            names.append(folded(group))
        places[row] = len(names)
        names.append(folded(stars.named(row, styles[label].name or label)))
    return places, names, heads


def lane_panels(names: Sequence[str], columns: int) -> tuple[Figure, Sequence[Axes]]:
    """Make a figure with a line for each name, and `columns` panels side by side."""
    lines = [line for name in names for line in name.split("\n")]
    label = 0.3 + 0.072 * max(map(cell_len, lines))
    panel = min(COLUMN[1], max(COLUMN[0], (WIDEST - label) / columns))
    more = sum(name.count("\n") for name in names)
    figure = Figure(
        figsize=(max(4.0, label + panel * columns), 1.15 + ROW * len(names) + 0.14 * more), layout="constrained"
    )
    return figure, figure.subplots(1, columns, sharey=True, squeeze=False)[0]


def name_lanes(axis: Axes, names: Sequence[str], heads: set[int]) -> None:
    """Write the names beside the lines; the groups' in bold, without a line."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    for place, text in enumerate(axis.get_yticklabels()):
        if place in heads:
            text.set_fontweight("bold")
    for panel in axis.figure.axes:
        for place, tick in enumerate(panel.yaxis.get_major_ticks()):
            tick.gridline.set_visible(place not in heads)


def _rates(axis: Axes) -> None:
    axis.set_xlim(-0.04, 1.04)
    axis.set_xticks([0, 0.5, 1])
    axis.xaxis.set_major_formatter(per_cent())
    first, _, last = axis.get_xticklabels()
    first.set_horizontalalignment("left")  # apart from the last one of the panel before
    last.set_horizontalalignment("right")
    for edge in ("top", "right", "left"):
        axis.spines[edge].set_visible(False)


def _draw(axis: Axes, dot: Dot, place: int, style: Style) -> None:
    axis.plot([dot.low, dot.high], [place, place], color=style.colour, linewidth=1.6, solid_capstyle="butt", alpha=0.6)
    if dot.parts:
        places = [place] * len(dot.parts)
        axis.plot(dot.parts, places, "|", color=style.colour, markersize=15, markeredgewidth=1, clip_on=False)
    axis.plot(
        [dot.rate],
        [place],
        color=style.colour,
        marker=style.marker,
        markerfacecolor=style.face,
        markersize=5 if dot.parts else 6,
        linestyle="none",
        clip_on=False,
        zorder=3,
    )
