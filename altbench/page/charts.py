"""Charts of the page: shapes in pixels, which a template writes as SVG.

They take their colours from the page's style sheet, so that one drawing serves light,
dark and print. Marks are links to the numbers that they show.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache

from matplotlib.markers import MarkerStyle
from matplotlib.path import Path as MarkerPath

from altbench.report.table import significant

WIDTH, HEIGHT = 320, 216
LEFT, RIGHT, TOP, BOTTOM = 58, 20, 30, 40
"""Margins around the panel, in pixels of a drawing that is `WIDTH` wide."""
MARK = 4.6
"""Half the size of a mark in pixels."""


@dataclass(frozen=True)
class Mark:
    """A policy's mark, with the text of its tooltip and the number that it links to."""

    x: float
    y: float
    style: int
    title: str
    condition: int | None = None
    hollow: bool = False
    small: bool = False


@dataclass(frozen=True)
class Line:
    """A line in a policy's colour; `dashed`: a floor or a threshold; style -1: no policy's."""

    d: str
    style: int
    dashed: bool = False


@dataclass(frozen=True)
class Text:
    """A text at a place; `anchor`: start, middle or end."""

    x: float
    y: float
    text: str
    anchor: str = "middle"
    style: int = -1


@dataclass
class Chart:
    """A panel with its axes: ticks, lines, whiskers and marks, in pixels."""

    title: str
    x_label: str
    y_label: str
    x_ticks: list[Text] = field(default_factory=list)
    y_ticks: list[Text] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    width: int = WIDTH
    height: int = HEIGHT
    anchor: str = ""

    @property
    def left(self) -> float:
        """The panel's left edge."""
        return LEFT

    @property
    def right(self) -> float:
        """The panel's right edge."""
        return self.width - RIGHT

    @property
    def top(self) -> float:
        """The panel's upper edge."""
        return TOP

    @property
    def bottom(self) -> float:
        """The panel's lower edge."""
        return self.height - BOTTOM

    def whisker(self, x: float, low: float, high: float, style: int) -> None:
        """Add an interval: a vertical line at x."""
        self.lines.append(Line(f"M{x:.1f} {low:.1f}V{high:.1f}", style))


Scale = Callable[[float], float]


def linear(low: float, high: float, start: float, end: float) -> Scale:
    """Return the map from [low, high] to pixels from `start` to `end`."""
    span = high - low or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def logarithmic(low: float, high: float, start: float, end: float) -> Scale:
    """Return the logarithmic map from [low, high] (both > 0) to pixels."""
    inner = linear(math.log10(low), math.log10(high), start, end)
    return lambda value: inner(math.log10(value))


def rate_axis(chart: Chart) -> Scale:
    """Give the chart an axis of rates, 0 to 100 %; return its scale."""
    scale = linear(0, 1, chart.bottom, chart.top)
    chart.y_ticks = [Text(chart.left - 6, scale(r), f"{r:.0%}".replace("%", " %"), "end") for r in (0, 0.5, 1)]
    return scale


def log_axis(chart: Chart, values: Sequence[float]) -> Scale:
    """Give the chart a logarithmic x axis over `values`, with ticks at 1, 2 and 5."""
    low, high = min(values) / 1.6, max(values) * 1.6
    scale = logarithmic(low, high, chart.left, chart.right)
    places = [m * 10.0**e for e in range(-6, 9) for m in (1, 2, 5)]
    inside = [place for place in places if low <= place <= high]
    while len(inside) > 5:
        inside = [p for p in inside if f"{p:e}"[0] == "1"] if len(inside) < 20 else inside[::3]
        if len(inside) <= 5 or all(f"{p:e}"[0] == "1" for p in inside):
            inside = inside[:: max(1, len(inside) // 5)]
            break
    chart.x_ticks = [Text(scale(place), chart.bottom + 15, f"{place:g}") for place in inside]
    return scale


def score_axis(chart: Chart, values: Iterable[float]) -> Scale:
    """Give the chart a linear y axis from 0 or below to the highest of `values`."""
    known = list(values)
    low, high = min(0.0, *known), max(known) or 1.0
    scale = linear(low, high + 0.04 * (high - low), chart.bottom, chart.top)
    ticks = [low, (low + high) / 2, high]
    chart.y_ticks = [Text(chart.left - 6, scale(tick), significant(tick, 2) or "0", "end") for tick in ticks]
    return scale


def polyline(points: Iterable[tuple[float, float]]) -> str:
    """Return the path through points (x, y) in pixels."""
    return "".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(points))


@cache
def marker(name: str) -> str:
    """Return the SVG path of matplotlib's marker `name`, `MARK` in size, around (0, 0)."""
    style = MarkerStyle(name)
    shape: MarkerPath = style.get_path().transformed(style.get_transform())
    parts = []
    size = 2.4 * MARK if name == "*" else 2 * MARK
    for points, code in shape.iter_segments(curves=True, simplify=False):
        letters = {MarkerPath.MOVETO: "M", MarkerPath.LINETO: "L", MarkerPath.CURVE3: "Q", MarkerPath.CURVE4: "C"}
        if code == MarkerPath.CLOSEPOLY:
            parts.append("Z")
        else:
            numbers = (f"{n * size * (1 if i % 2 == 0 else -1):.2f}" for i, n in enumerate(points))
            parts.append(letters[code] + " ".join(numbers))
    return "".join(parts)
