"""Section 2: success against demonstrations, perturbations, time and memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from altbench.core.spec import read_toml
from altbench.page.charts import (
    Chart,
    Line,
    Mark,
    Scale,
    Text,
    linear,
    log_axis,
    polyline,
    rate_axis,
)
from altbench.page.conditions import Condition, Row
from altbench.page.records import RunRecords
from altbench.page.table_rows import TableRow
from altbench.page.verdict import Verdict, spoken_splits
from altbench.report.table import percentage, significant

ASIDE = 5.0
"""Pixels from one policy's mark to the next at the same place."""
MOST_PANELS = 60
"""How many severity curves the page draws at most."""


@dataclass(frozen=True)
class HeatRow:
    """A row of the heat map: its number on clean images and under each perturbation."""

    row: Row
    clean: Condition | None
    cells: tuple[Condition | None, ...]


@dataclass(frozen=True)
class HeatMap:
    """Success by row and perturbation of one task and split.

    `heads`: (perturbation, severities). `curves`: one chart per perturbation.
    """

    task: str
    split: str
    heads: tuple[tuple[str, tuple[int, ...]], ...]
    rows: tuple[HeatRow, ...]
    curves: tuple[Chart, ...]
    floors: tuple[str, ...]


@dataclass(frozen=True)
class Curves:
    """The second section: charts of success, heat maps, charts of costs."""

    by_n: tuple[Chart, ...]
    maps: tuple[HeatMap, ...]
    costs: tuple[Chart, ...]


@cache
def floors() -> frozenset[str]:
    """Return the policies that do not look, from floors.toml beside this file."""
    return frozenset(read_toml(Path(__file__).with_name("floors.toml"))["floors"])


def curves(run: RunRecords, found: Verdict) -> Curves:
    """Return the second section's charts."""
    by_n = tuple(chart for task in run.tasks for split in found.splits if (chart := success_by_n(run, task, split)))
    maps = tuple(one for task in run.tasks for split in run.splits if (one := heat_map(run, task, split)) is not None)
    return Curves(by_n, maps, cost_charts(run, found))


def success_by_n(run: RunRecords, task: str, split: str) -> Chart | None:
    """Return the chart of success on a split by N, or at the only N by policy."""
    own = [c for c in run.conditions if c.clean and c.split == split and c.row.task == task and c.rate is not None]
    if not own:
        return None
    steps = sorted({c.row.n for c in run.conditions if c.clean and c.row.task == task})
    title = f"{task}, {split}" if len(run.tasks) > 1 else split
    if len(steps) == 1:
        return _by_policy(own, title)
    chart = Chart(title, "demonstrations (N)", "success")
    y, x = rate_axis(chart), linear(-0.5, len(steps) - 0.5, chart.left, chart.right)
    chart.x_ticks = [Text(x(i), chart.bottom + 15, str(n)) for i, n in enumerate(steps)]
    styles = sorted({c.row.style for c in own})
    for style in styles:
        aside = ASIDE * (styles.index(style) - (len(styles) - 1) / 2)
        line = sorted((c for c in own if c.row.style == style), key=lambda c: c.row.n)
        _joined(chart, line, [x(steps.index(c.row.n)) + aside for c in line], y)
    return chart


def _by_policy(own: Sequence[Condition], title: str) -> Chart:
    """Return a chart with a column for each policy."""
    chart = Chart(title, f"N = {own[0].row.n}", "success", width=max(220, 70 + 34 * len(own)))
    y, x = rate_axis(chart), linear(-0.6, len(own) - 0.4, chart.left, chart.right)
    for i, one in enumerate(own):
        _joined(chart, [one], [x(i)], y)
    return chart


def _joined(chart: Chart, line: Sequence[Condition], places: Sequence[float], y: Scale) -> None:
    """Add marks with intervals, joined by a line if there are several."""
    points = [(x, y(c.rate or 0.0)) for x, c in zip(places, line, strict=True)]
    if len(points) > 1:
        chart.lines.append(Line(polyline(points), line[0].row.style))
    for (x, height), one in zip(points, line, strict=True):
        chart.whisker(x, y(one.low or 0.0), y(one.high or 0.0), one.row.style)
        chart.marks.append(Mark(x, height, one.row.style, tooltip(one), one.number))


def tooltip(one: Condition) -> str:
    """Return a number in words: policy, condition, counts, rate and interval."""
    if one.rate is None:
        return f"{one.row.title}, {one.title}: no episode"
    return (
        f"{one.row.title}, {one.title}: {one.successes}/{one.episodes} = {percentage(one.rate)} % "
        f"[{100 * (one.low or 0.0):.0f}, {100 * (one.high or 0.0):.0f}]"
    )


# ------------------------------------------------------------------------------------------------------ perturbations


def heat_map(run: RunRecords, task: str, split: str) -> HeatMap | None:
    """Return the heat map of a task and split; None if nothing was perturbed there."""
    own = [c for c in run.conditions if c.row.task == task and c.split == split]
    perturbed = [c for c in own if not c.clean]
    if not perturbed:
        return None
    names = sorted({c.perturbation for c in perturbed})
    heads = tuple((name, tuple(sorted({c.severity for c in perturbed if c.perturbation == name}))) for name in names)
    rows = [row for row in run.rows if any(c.row is row for c in perturbed)]
    place = {(c.row.number, c.perturbation, c.severity): c for c in perturbed}
    clean = {c.row.number: c for c in own if c.clean}
    lines = tuple(
        HeatRow(row, clean.get(row.number), tuple(place.get((row.number, p, s)) for p, steps in heads for s in steps))
        for row in rows
    )
    still = [c for c in clean.values() if c.row.policy in floors() and c.row not in rows and c.rate is not None]
    drawn = tuple(_severity_curve(lines, still, name, steps, f"s-{task}-{split}-{name}") for name, steps in heads)
    return HeatMap(task, split, heads, lines, drawn[:MOST_PANELS], tuple(c.row.title for c in still))


def _severity_curve(
    rows: Sequence[HeatRow], still: Sequence[Condition], name: str, steps: Sequence[int], anchor: str
) -> Chart:
    """Return the chart of success by severity, with the floors as dashed lines.

    Only severities that were played have a place.
    """
    chart = Chart(name.replace("_", " "), "severity (0: clean)", "success", anchor=anchor)
    places = [0, *steps]
    y, x = rate_axis(chart), linear(-0.4, len(places) - 0.6, chart.left, chart.right)
    chart.x_ticks = [Text(x(i), chart.bottom + 15, str(step)) for i, step in enumerate(places)]
    for floor in still:
        height = y(floor.rate or 0.0)
        chart.lines.append(Line(f"M{chart.left} {height:.1f}H{chart.right}", floor.row.style, dashed=True))
        chart.texts.append(Text(chart.right - 2, height - 4, floor.row.label, "end"))
    for i, row in enumerate(rows):
        aside = ASIDE * (i - (len(rows) - 1) / 2)
        own = [c for c in (row.clean, *row.cells) if c and (c.clean or c.perturbation == name) and c.rate is not None]
        _joined(chart, own, [x(places.index(c.severity)) + aside for c in own], y)
    return chart


# --------------------------------------------------------------------------------------------------------------- cost


def cost_charts(run: RunRecords, found: Verdict) -> tuple[Chart, ...]:
    """Return success against time and against memory, with the Pareto front of each.

    Success is that on the farthest split with new starts, else where starts were shown.
    """
    chosen = spoken_splits(run)
    if not chosen:
        return ()
    split, charts = chosen[-1][0], []
    for task in run.tasks:
        lines = [line for line in found.table if line.row.task == task]
        pairs = [(line, c) for line in lines for c in line.cells if c and c.split == split and c.rate is not None]
        head = f"{task}, {split}" if len(run.tasks) > 1 else split
        for name, unit in (("p50", "one decision, median (ms)"), ("megabytes", "weights + table (MB)")):
            known = [(getattr(line.cost, name), line, c) for line, c in pairs if getattr(line.cost, name)]
            if len(known) > 1:
                charts.append(_pareto(known, head, unit))
    return tuple(charts)


def _pareto(known: Sequence[tuple[float, TableRow, Condition]], head: str, unit: str) -> Chart:
    chart = Chart(head, unit, "success", width=420, height=250)
    y, x = rate_axis(chart), log_axis(chart, [value for value, _, _ in known])
    front = pareto_front([(value, c.rate or 0.0) for value, _, c in known])
    steps = [point for (a, b), after in zip(front, [*front[1:], None], strict=True) for point in _step(a, b, after)]
    chart.lines.append(Line(polyline((x(a), y(b)) for a, b in steps) + f"H{chart.right}", -1, dashed=True))
    for value, line, one in known:
        chart.whisker(x(value), y(one.low or 0.0), y(one.high or 0.0), line.row.style)
        title = f"{tooltip(one)}; {significant(value)} {unit.rpartition('(')[2].rstrip(')')}"
        chart.marks.append(Mark(x(value), y(one.rate or 0.0), line.row.style, title, one.number))
    return chart


def _step(cost: float, rate: float, after: tuple[float, float] | None) -> list[tuple[float, float]]:
    return [(cost, rate)] if after is None else [(cost, rate), (after[0], rate)]


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the (cost, rate) that no other point beats in both, cheapest first."""
    front: list[tuple[float, float]] = []
    for cost, rate in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or rate > front[-1][1]:
            front.append((cost, rate))
    return front
