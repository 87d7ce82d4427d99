"""The figure of what a decision costs: time against memory, or both task by task."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from altbench.report.costs import MEGABYTES, MILLISECONDS, measures_frame, paper_reference, ratios_table
from altbench.report.style import Style, Styles, grid, headline, legend, policy_handles
from altbench.report.table import significant
from altbench.rollout.records import MeasureRecord

MOST_COLUMNS = 3
"""How many panels of time against memory stand side by side at most."""
MOST_TASKS = 3
"""How many tasks have a panel each at most; of more, each has a line in two panels."""
TICKS = ((12.0, (1, 2, 3, 4, 6, 8)), (150.0, (1, 2, 5)), (float("inf"), (1,)))
"""Ticks of a logarithmic axis: (upper end over lower end, at most; places in a decade).

The more decades an axis has, the fewer ticks there are in each, so that no two touch.
"""


def latency_memory(measures: Sequence[MeasureRecord], styles: Styles) -> Figure:
    """Draw decision time (p50, bar to p99) and memory (weights + table).

    Of each policy, the measurement at its largest N is shown.
    """
    frame = timed_and_weighed(measures)
    draw = _by_task if frame["task"].nunique() > MOST_TASKS else _scatter
    figure = draw(frame, measures, styles)
    presets = sorted(set(frame["preset"]))
    handles = policy_handles(sorted(set(frame["label"])), styles)
    legend(figure, handles + (_preset_handles(presets) if len(presets) > 1 else []))
    return figure


def timed_and_weighed(measures: Sequence[MeasureRecord]) -> pd.DataFrame:
    """Return the measurements with a time and some bytes, at each policy's largest N.

    Policies of 0 bytes are left out, because the axis is logarithmic.
    """
    frame = measures_frame(measures)
    frame = frame[frame["latency_p50_s"].notna() & (frame["weights_and_table_bytes"].fillna(0) > 0)]
    images = [f", images {size}" if pd.notna(size) else "" for size in frame["image_size"]]
    threads = [f"{count} thread{'s' if count > 1 else ''}" for count in frame["threads"]]
    parts = zip(frame["device"], threads, images, strict=True)
    frame = frame.assign(setting=[f"{device}, {count}{image}" for device, count, image in parts])
    return frame.sort_values("n", kind="stable").groupby(["label", "preset", "task", "setting"]).tail(1)


def _scatter(frame: pd.DataFrame, measures: Sequence[MeasureRecord], styles: Styles) -> Figure:
    """Draw time against memory, both logarithmic.

    There is a panel for each task, device and image size.
    Above each panel stand the ratios of the policies that the paper reports ratios of.
    """
    tasks = [f"{task}: " if frame["task"].nunique() > 1 else "" for task in frame["task"]]
    frame = frame.assign(panel=[task + setting for task, setting in zip(tasks, frame["setting"], strict=True)])
    panels, presets = sorted(set(frame["panel"]), key=_by_numbers), sorted(set(frame["preset"]))
    columns = min(len(panels), MOST_COLUMNS)
    figure, axes = grid(-(-len(panels) // columns), columns, width=4.4, height=3.4)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, panel in zip(axes.flat, panels, strict=False):
        shown = frame[frame["panel"] == panel]
        for _, row in shown.iterrows():
            _cost_point(axis, row, styles[row["label"]], filled=row["preset"] == presets[0])
        axis.set(xlabel="weights + table (MB)")
        axis.margins(0.15)
        axis.xaxis.set_tick_params(labelbottom=True)  # the last row may not be full
        axis.set_title("\n".join([panel, *_headlines(measures, shown)]), fontsize=7.5)
    _logarithmic(axes[0, 0], "x")
    _logarithmic(axes[0, 0], "y")
    for row in axes:
        row[0].set_ylabel("one decision (ms, median; bar to p99)")
    headline(figure, "Time and memory of a decision at the largest N: lower left is better")
    return figure


def _by_task(frame: pd.DataFrame, measures: Sequence[MeasureRecord], styles: Styles) -> Figure:
    """Draw time and memory, both logarithmic, in two panels with a line for each task.

    Each device and image size has a row of two panels.
    """
    del measures
    settings, tasks = sorted(set(frame["setting"]), key=_by_numbers), sorted(set(frame["task"]))
    figure = Figure(figsize=(9.2, (0.9 + 0.36 * len(tasks)) * len(settings) + 0.7), layout="constrained")
    axes = figure.subplots(len(settings), 2, sharex="col", sharey=True, squeeze=False)
    seaborn.despine(fig=figure)
    for (left, right), setting in zip(axes, settings, strict=True):
        _lanes(left, right, frame[frame["setting"] == setting], tasks, styles)
        left.set_title(setting)
        left.set_yticks(range(len(tasks)), tasks)
        left.set_ylim(len(tasks) - 0.5, -0.5)
    axes[-1, 0].set_xlabel("one decision (ms, median; bar to p99)")
    axes[-1, 1].set_xlabel("weights + table (MB)")
    for axis in axes[0]:
        axis.margins(x=0.1)
        _logarithmic(axis, "x")
    headline(figure, "Time and memory of a decision at the largest N, task by task: left is better")
    return figure


def _lanes(left: Axes, right: Axes, shown: pd.DataFrame, tasks: Sequence[str], styles: Styles) -> None:
    """Draw the points of each task on a line, policies a little above each other."""
    kinds = sorted(set(zip(shown["label"], shown["preset"], strict=True)))
    presets = sorted(set(shown["preset"]))
    for _, row in shown.iterrows():
        place = kinds.index((row["label"], row["preset"])) - (len(kinds) - 1) / 2
        y = tasks.index(row["task"]) + place * min(0.22, 0.7 / len(kinds))
        ms, tail, megabytes = _costs(row)
        style = _point_of(styles[row["label"]], filled=row["preset"] == presets[0]) | {"markersize": 6}
        left.errorbar([ms], [y], xerr=[[0.0], [tail]], **style)
        right.plot([megabytes], [y], **style)


def _logarithmic(axes: Axes, name: str) -> None:
    """Make an axis logarithmic, with the ticks of `TICKS` and a line at each."""
    axes.set(**{f"{name}scale": "log"})
    low, high = axes.get_xlim() if name == "x" else axes.get_ylim()
    axis: Axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=next(subs for times, subs in TICKS if high / low < times)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _by_numbers(panel: str) -> tuple[str, list[int]]:
    """Return a key that sorts 84×84 before 240×320."""
    return panel.partition(",")[0], [int(digits) for digits in re.findall(r"\d+", panel)]


def _cost_point(axis: Axes, row: Any, style: Style, filled: bool) -> None:
    ms, tail, megabytes = _costs(row)
    axis.errorbar([megabytes], [ms], yerr=[[0.0], [tail]], **_point_of(style, filled), markersize=8)


def _costs(row: Any) -> tuple[float, float, float]:
    """Return the median in ms, the distance to p99 in ms, and the memory in MB."""
    ms = float(row["latency_p50_s"]) * MILLISECONDS
    tail = 0.0 if pd.isna(row["latency_p99_s"]) else max(0.0, float(row["latency_p99_s"]) * MILLISECONDS - ms)
    return ms, tail, float(row["weights_and_table_bytes"]) * MEGABYTES


def _point_of(style: Style, filled: bool) -> dict[str, Any]:
    face = style.colour if filled else "white"
    return {"color": style.colour, "marker": style.marker, "markerfacecolor": face, "linestyle": "none"}


def _headlines(measures: Sequence[MeasureRecord], shown: pd.DataFrame) -> list[str]:
    """Return the ratios of the policies that the paper reports on, then the paper's.

    Of each preset, the largest N is taken.
    """
    data = ratios_table(measures).data
    same = data["label"].isin(shown["label"]) & data["paper_time"].notna()
    for column in ("task", "device", "threads", "image_size"):
        same &= data[column] == shown[column].iloc[0]
    largest = data[same].sort_values("n").groupby(["label", "preset"]).tail(1).sort_values(["label", "preset"])
    lines = [
        f"{row['label']} ({row['preset']}) / {paper_reference().policy}: time {significant(row['time'], 2)},"
        f" memory {significant(row['weights_and_table'], 2)}"
        for _, row in largest.iterrows()
    ]
    reported = sorted({f"time {row['paper_time']}, memory {row['paper_memory']}" for _, row in largest.iterrows()})
    return [*lines, *(f"reported in the paper: {text}" for text in reported)]


def _preset_handles(presets: Sequence[str]) -> list[Line2D]:
    dot: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 7, "markeredgecolor": "0.3"}
    faces = ["0.3", *["white"] * (len(presets) - 1)]
    return [Line2D([], [], label=f"preset {p}", markerfacecolor=f, **dot) for p, f in zip(presets, faces, strict=True)]
