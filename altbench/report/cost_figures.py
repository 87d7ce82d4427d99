"""The figure of what a decision costs: time and memory, a line for each policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from altbench.report.costs import MEGABYTES, MILLISECONDS, measures_frame
from altbench.report.dots import Row, lane_panels, lanes, name_lanes
from altbench.report.drawing.layout import headline
from altbench.report.drawing.order import label_place, row_place
from altbench.report.style import Style, Styles
from altbench.report.table import significant
from altbench.rollout.records import MeasureRecord

LEAST = 8.0
"""Least upper end of an axis over its lower end: then it has two ticks or more."""
TICKS = ((60.0, (1, 2, 5)), (float("inf"), (1,)))
"""Ticks of a logarithmic axis: (upper end over lower end, at most; places in a decade).

The more decades an axis has, the fewer ticks there are in each, so that no two touch.
"""


def latency_memory(measures: Sequence[MeasureRecord], styles: Styles) -> Figure:
    """Draw decision time (p50, bar to p99) and memory (weights + table).

    Of each policy, the measurement at its largest N is shown.
    """
    # No row has a star: more training changes neither the time nor the memory of a network.
    return costs_figure(timed_and_weighed(measures), styles)


def timed_and_weighed(measures: Sequence[MeasureRecord]) -> pd.DataFrame:
    """Return the measurements that the figure shows, at each policy's largest N, as `costs_figure` takes them."""
    frame = measures_frame(measures)
    ms, tails = frame["latency_p50_s"] * MILLISECONDS, frame["latency_p99_s"] * MILLISECONDS
    held = frame["weights_and_table_bytes"].astype(float) * MEGABYTES
    frame = with_costs(frame.assign(ms=ms, p99_ms=tails, mb=held))
    images = [f"images {size}" if pd.notna(size) else "" for size in frame["image_size"]]
    threads = [f"{count} thread{'s' if count > 1 else ''}" for count in frame["threads"]]
    parts = zip(frame["device"], threads, strict=True)
    frame = frame.assign(setting=[f"{device}, {count}" for device, count in parts], images=images)
    return frame.sort_values("n", kind="stable").groupby(["label", "preset", "task", "setting", "images"]).tail(1)


def with_costs(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `frame` (ms, mb) that a figure can show: none unless some row was timed.

    Rows of 0 bytes are left out, because the axis is logarithmic. A row without a time,
    such as one that was measured on another day, has its bytes alone.
    """
    held = frame[frame["mb"].fillna(0) > 0]
    return held if held["ms"].notna().any() else held[:0]


def costs_figure(frame: pd.DataFrame, styles: Styles) -> Figure:
    """Draw time and memory, both logarithmic, in two panels with a line for each row.

    `frame`: task, setting, images, label, preset, ms and p99_ms (may be missing) and mb. A
    task or a setting that is not all rows' has a line with its name above its rows.
    """
    frame, common = _without_common(frame)
    own = _in_order(_named(frame))
    rows: list[Row] = list(zip(own["group"], own["row"], strict=True))
    shown = {row: _called(styles[label], row) for row, label in zip(own["row"], own["label"], strict=True)}
    places, names, heads = lanes(rows, shown)
    figure, (left, right) = lane_panels(names, 2)
    figure.set_figwidth(max(6.2, figure.get_figwidth()))
    for (_, one), place in zip(own.iterrows(), (places[row] for row in rows), strict=True):
        if pd.notna(one["ms"]):
            _mark(left, one["ms"], one["p99_ms"], place, shown[one["row"]])
        _mark(right, one["mb"], None, place, shown[one["row"]])
    tails = "; bar to p99" if own["p99_ms"].notna().any() else ""
    left.set_xlabel(f"one decision (ms, median{tails})")
    right.set_xlabel("weights + table (MB)")
    for axis in (left, right):
        axis.spines["left"].set_visible(False)
        axis.spines["right"].set_visible(False)
        axis.spines["top"].set_visible(False)
        _logarithmic(axis)
    name_lanes(left, names, heads)
    where = f" ({common})" if common else ""
    headline(figure, f"Time and memory of a decision{where}: left is better")
    return figure


def _without_common(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return `frame` with the setting that tells its rows apart, and what all rows share.

    Rows without images share the size of the others' images, if that is one.
    """
    sizes, settings = sorted(set(frame["images"]) - {""}), sorted(set(frame["setting"]))
    shared = [*(settings if len(settings) == 1 else []), *(sizes if len(sizes) == 1 else [])]
    apart = [frame["setting"] if len(settings) > 1 else "", frame["images"] if len(sizes) > 1 else ""]
    told = [
        ", ".join(filter(None, pair)) for pair in zip(*(pd.Series(a, index=frame.index) for a in apart), strict=True)
    ]
    return frame.assign(setting=told), ", ".join(filter(None, shared))


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `frame` with the group and the name of each row."""
    tasks, settings = frame["task"].nunique() > 1, frame["setting"].nunique() > 1
    groups = [
        ": ".join(part for part, told in ((task, tasks), (setting, settings)) if told)
        for task, setting in zip(frame["task"], frame["setting"], strict=True)
    ]
    several = frame.groupby("label")["preset"].transform("nunique") > 1
    presets = zip(frame["label"], frame["preset"], several, strict=True)
    return frame.assign(group=groups, row=[f"{x} ({preset})" if told else x for x, preset, told in presets])


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    keys = zip(frame["task"], frame["setting"], frame["label"], frame["preset"], strict=True)
    places = [(row_place(t), len(s), s, label_place(x), str(p)) for t, s, x, p in keys]  # 84×84 before 240×320
    return frame.iloc[sorted(range(len(frame)), key=places.__getitem__)]


def _called(style: Style, row: str) -> Style:
    name = style.name if style.name.startswith(row) or not style.name else row
    return Style(style.colour, style.marker, style.hollow, name or row)


def _mark(axis: Axes, value: float, end: float | None, place: int, style: Style) -> None:
    """Draw one number, a bar to `end`, and the number in words beside it."""
    last = value if end is None or pd.isna(end) else max(value, float(end))
    axis.plot([value, last], [place, place], color=style.colour, linewidth=1.6, alpha=0.6, solid_capstyle="butt")
    dot: dict[str, Any] = {"color": style.colour, "marker": style.marker, "markerfacecolor": style.face}
    axis.plot([value], [place], **dot, markersize=6, linestyle="none", zorder=3)
    axis.annotate(
        significant(float(value), 2),
        (last, place),
        (6, 0),
        textcoords="offset points",
        va="center",
        fontsize=7,
        color="0.35",
    )


def _logarithmic(axes: Axes) -> None:
    """Make the x axis logarithmic, with the ticks of `TICKS` and a line at each.

    At the right there is room for the last number's text.
    """
    axes.set_xscale("log")
    axes.margins(x=0.06)
    low, high = axes.get_xlim()
    more = max(1.0, LEAST / (high / low)) ** 0.5
    low, high = low / more, high * more
    axes.set_xlim(low, high * (high / low) ** 0.16)
    low, high = axes.get_xlim()
    axis: Axis = axes.xaxis
    axis.set_major_locator(LogLocator(subs=next(subs for times, subs in TICKS if high / low < times)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
