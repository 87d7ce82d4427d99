"""Bars of shares that add up to all: a line per row, a panel with parts of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from rich.cells import cell_len

from altbench.report.drawing.layout import WIDEST, headline
from altbench.report.style import COLOURS, ink, per_cent
from altbench.report.table import percentage

PARTS = (COLOURS[0], COLOURS[2], "#B8B8B8")
"""Colours of the parts, from the first one on."""
INSIDE = 0.07
"""Least share whose number fits into its part; a smaller one stands above it."""


@dataclass(frozen=True)
class Stacks:
    """A panel: its title, the parts' names, and each row's shares."""

    title: str
    parts: Sequence[str]
    shares: Mapping[str, Sequence[float]]


def draw_stacks(title: str, rows: Mapping[str, str], panels: Sequence[Stacks], axis_label: str) -> Figure:
    """Draw the panels side by side; `rows`: each row's name. Call this inside `styled`."""
    label = 0.3 + 0.072 * max(map(cell_len, rows.values()))
    figure = Figure(figsize=(min(WIDEST, label + 3.6 * len(panels)), 1.75 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        for place, row in enumerate(rows):
            _bar(axis, place, panel.shares.get(row, ()))
        axis.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.7))
        axis.xaxis.set_major_formatter(per_cent())
        axis.set_xticks([0, 0.5, 1])
        axis.grid(visible=False)
        seaborn.despine(ax=axis, left=True)
        handles = [Patch(color=colour, label=name) for colour, name in zip(PARTS, panel.parts, strict=False)]
        axis.legend(
            handles=handles, loc="lower left", bbox_to_anchor=(-0.02, 0.99), frameon=False, fontsize=7.5,
            ncols=len(handles), columnspacing=0.9, handlelength=1, handletextpad=0.4, borderpad=0.1,
        )  # fmt: skip
        axis.set_title(panel.title, pad=20)
    axes[0].set_yticks(range(len(rows)), rows.values())
    figure.supxlabel(axis_label, fontsize=axes[0].xaxis.label.get_fontsize())
    headline(figure, title)
    return figure


def _bar(axis: Axes, place: int, shares: Sequence[float]) -> None:
    left = 0.0
    small: list[tuple[float, float]] = []
    for share, colour in zip(shares, PARTS, strict=False):
        axis.barh([place], [share], left=left, height=0.62, color=colour, linewidth=0)
        if share >= INSIDE:
            text, middle = f"{percentage(share)} %", left + share / 2
            axis.text(middle, place, text, ha="center", va="center", color=ink(colour), fontsize=7.5)
        elif share > 0:
            small.append((left + share / 2, share))
        left += share
    if small:  # in one text, because their parts are too narrow for one each
        middle = sum(x for x, _ in small) / len(small)
        edge = "right" if middle > 0.9 else "left" if middle < 0.1 else "center"
        text = " + ".join(f"{percentage(share)} %" for _, share in small)
        where = 1.0 if edge == "right" else 0.0 if edge == "left" else middle
        axis.text(where, place - 0.33, text, ha=edge, va="bottom", color="0.3", fontsize=6)
