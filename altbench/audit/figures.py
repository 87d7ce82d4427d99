"""The audit's figures: the likeness of one episode to each demonstration, as bars, and
S of every episode.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import CARETLEFTBASE
from matplotlib.patches import Patch

from altbench.audit.cases import CASES, AuditedEpisode, summary_of
from altbench.audit.tables import score
from altbench.report.dots import lane_panels, lanes, name_lanes
from altbench.report.drawing.layout import MOST_POINTS, WIDEST, headline, legend
from altbench.report.drawing.order import labels_in_order, tasks_in_order
from altbench.report.style import COLOURS, Styles, folded, signed, words

NEAREST, SECOND, OTHERS = COLOURS[3], COLOURS[2], "0.72"
LOWEST = -2.0
"""The lowest S with a place of its own. Lower ones are drawn at the left edge and
counted: a stray one would squeeze the others.
"""
HIGHEST_S, MEDIAN_S = "highest S", "median S"
"""The episodes whose likeness is drawn."""
BAR_COLUMNS = ["task", "label", "case", "which", "episode", "s", "between_m", "place", "distance_m"]
"""Columns of `likeness_frame`."""


def likeness_frame(audited: Sequence[AuditedEpisode]) -> pd.DataFrame:
    """Return the distances to all demonstrations, nearest first, of the episodes with the
    highest and the median S of each task, policy and case: a row per demonstration.
    """
    scored = [a for a in audited if a.likeness is not None and a.likeness.s is not None]
    groups: dict[tuple[str, str, str], list[AuditedEpisode]] = {}
    for one in sorted(scored, key=lambda a: a.s or 0.0):
        groups.setdefault((one.cell.checkpoint.task, one.cell.label, one.case.name), []).append(one)
    rows = []
    for key, own in groups.items():
        for which, one in ((HIGHEST_S, own[-1]), (MEDIAN_S, own[(len(own) - 1) // 2])):
            assert one.likeness is not None
            about = (*key, which, one.record.episode, one.s, one.likeness.between)
            rows += [(*about, i, d) for i, d in enumerate(np.sort(np.array(one.likeness.distances)), start=1)]
    return pd.DataFrame(rows, columns=BAR_COLUMNS)


def similarity_bars(frame: pd.DataFrame, title: str, across: str, down: str = "which") -> Figure:
    """Draw an episode's similarity to each demonstration, nearest first, as bars.

    `frame`: that of `likeness_frame`; `across` and `down` are the columns whose values
    have a column and a row of panels. Similarity is 1 - distance / the greatest distance
    of a demonstration: 1 is identical, 0 the farthest one.
    """
    columns, rows = _in_order(frame[across], across), _in_order(frame[down], down)
    figure = Figure(figsize=(min(WIDEST, 0.9 + 2.2 * len(columns)), 1.2 + 1.25 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), sharex=True, sharey=True, squeeze=False)
    seaborn.despine(fig=figure)
    for line, row in zip(axes, rows, strict=True):
        for axis, column in zip(line, columns, strict=True):
            _bars(axis, frame[(frame[across] == column) & (frame[down] == row)], small=len(columns) > 5)
        line[0].set_ylabel(words(row))
    for axis, column in zip(axes[0], columns, strict=True):
        axis.set_title(f"{folded(words(column) if across == 'case' else column)}\n{axis.get_title()}".strip())
    figure.supxlabel("demonstrations, nearest first", fontsize=axes[0][0].xaxis.label.get_fontsize())
    legend(figure, [Patch(label=name, color=colour) for colour, name in _KINDS])
    headline(figure, f"{title}: similarity of an episode to each demonstration (1: the same motion, 0: the farthest)")
    return figure


_KINDS = ((NEAREST, "nearest"), (SECOND, "second nearest"), (OTHERS, "others"))


def _in_order(values: Iterable[str], kind: str) -> list[str]:
    found = set(values)
    if kind == "label":
        return labels_in_order(found)
    if kind == "task":
        return tasks_in_order(found)
    known = [case.name for case in CASES] if kind == "case" else [HIGHEST_S, MEDIAN_S]
    return [name for name in known if name in found]


def _bars(axis: Axes, found: pd.DataFrame, small: bool) -> None:
    """Draw the bars of one episode; `small`: a panel without room for distances."""
    axis.set(ylim=(0, 1.02))
    axis.grid(visible=False, axis="x")
    if found.empty:
        axis.set_visible(False)
        return
    distances = found["distance_m"].to_numpy(float)
    heights = 1.0 - distances / max(distances[-1], 1e-12)
    colours = [NEAREST, SECOND, *[OTHERS] * (len(heights) - 2)]
    axis.bar(np.arange(1, len(heights) + 1), heights, width=0.85, color=colours, linewidth=0)
    axis.set_xlim(0.2, len(heights) + 0.8)
    first = found.iloc[0]
    axis.set_title(f"S = {signed(score(float(first['s']), 2))}", fontsize=8)
    if not small:
        told = (("nearest", distances[0]), ("second", distances[1]), ("between the two", float(first["between_m"])))
        text = "\n".join(f"{name} {1000 * d:.0f} mm" for name, d in told)
        white = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
        axis.text(0.99, 1, text, transform=axis.transAxes, ha="right", va="top", fontsize=6.5, color="0.25", bbox=white)


def distribution(frame: pd.DataFrame, title: str, styles: Styles, across: str = "case") -> Figure:
    """Draw S of each episode: a line per policy, a panel per case (or per task).

    Dots are episodes; the median is a bar through them, the mean with its 95 % interval
    a diamond below them.
    """
    scored = frame[frame["s"].notna()]
    columns = _in_order(scored[across], across)
    labels = labels_in_order(scored["label"])
    places, names, heads = lanes([("", label) for label in labels], styles)
    figure, axes = lane_panels(names, len(columns))
    figure.set_figheight(1.3 + 0.42 * len(labels))
    floor = max(LOWEST, float(scored["s"].min()) - 0.1)
    place = {label: places["", label] for label in labels}
    arrows = False
    for axis, column in zip(axes, columns, strict=True):
        shown = scored[scored[across] == column]
        own = {label: shown[shown["label"] == label] for label in labels}
        arrows |= _strip(axis, own, place, styles, floor)
        axis.set_title(words(column) if across == "case" else column)
        axis.set_xlim(floor - 0.25, 1.08)
        axis.set_xticks([x for x in (-2, -1, 0, 1) if x >= floor - 0.05])
        axis.axvline(1.0, color="0.25", linewidth=0.8, linestyle="--")
        seaborn.despine(ax=axis, left=True)
    name_lanes(axes[0], names, heads)
    figure.supxlabel("S (1: an exact replay)", fontsize=axes[0].xaxis.label.get_fontsize())
    legend(figure, _legend(bool((scored["s"] < floor).any()), arrows, floor))
    headline(figure, title)
    return figure


def _strip(
    axis: Axes, own: Mapping[str, pd.DataFrame], places: Mapping[str, int], styles: Styles, floor: float
) -> bool:
    """Draw a panel: each policy's episodes as dots, with their median and mean.

    Return whether a mean's interval ends in an arrow head. Multiples of the golden ratio
    spread the dots: evenly, and without random numbers.
    """
    dots, arrows = [], False
    for label, episodes in own.items():
        scores = episodes["s"].to_numpy(float)
        if len(scores) == 0:
            continue
        across = places[label] - 0.08 + 0.44 * ((np.arange(len(scores)) * 0.618034) % 1 - 0.5)
        dots += [(max(x, floor), y, styles[label].colour, x >= floor) for x, y in zip(scores, across, strict=True)]
        low = int((scores < floor).sum())
        if low:
            axis.text(floor - 0.08, places[label] - 0.08, str(low), ha="right", va="center", fontsize=6.5)
        _median(axis, float(np.median(scores)), places[label], floor)
        arrows |= _mean(axis, episodes, places[label] + 0.3, floor)
    _dots(axis, [dot for dot in dots if dot[3]], "o", len(dots) > MOST_POINTS / 4)
    _dots(axis, [dot for dot in dots if not dot[3]], "<", rasterized=False)
    return arrows


def _dots(axis: Axes, dots: Sequence[tuple[float, float, str, bool]], marker: str, rasterized: bool) -> None:
    """Draw all dots of a panel at once, so that an SVG holds one picture of them at most."""
    if not dots:
        return
    x, y, colours, _ = zip(*dots, strict=True)
    hollow = marker == "o"
    axis.scatter(
        x,
        y,
        s=6 if hollow else 8,
        linewidths=0.6 if hollow else 0,
        edgecolors=colours,
        facecolors="none" if hollow else colours,
        marker=marker,
        alpha=0.8,
        rasterized=rasterized,
        zorder=2,
    )


def _median(axis: Axes, median: float, place: int, floor: float) -> None:
    """Draw the median as a bar; below `floor` it is dotted, at the left edge."""
    x, low, high = max(median, floor), place - 0.36, place + 0.2
    axis.vlines(x, low, high, colors="white", linewidth=3, zorder=3.9)  # a rim, since dots may be black
    axis.vlines(x, low, high, colors="black", linewidth=1.4, ls="-" if median >= floor else ":", zorder=4)


def _mean(axis: Axes, episodes: pd.DataFrame, place: float, floor: float) -> bool:
    """Draw the mean of S with its interval over initial poses.

    A mean below `floor` is a triangle at the left edge. An interval that goes on below
    `floor` ends in an arrow head there; return whether this one does.
    """
    found = summary_of(episodes)
    assert found.mean is not None
    marker = "D" if found.mean >= floor else "<"
    axis.plot([max(found.mean, floor)], [place], color="0.15", markersize=3, marker=marker, zorder=4)
    if found.low is None or found.high is None:
        return False
    axis.hlines(place, max(found.low, floor), max(found.high, floor), colors="0.15", linewidth=1, zorder=4)
    cut = found.low < floor <= found.mean  # a mean below has a triangle of its own, which points there
    if cut:
        axis.plot([floor], [place], color="0.15", markersize=5, marker=CARETLEFTBASE, clip_on=False)
    return cut


def _legend(cut: bool, arrows: bool, floor: float) -> list[Line2D]:
    dot: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 4, "markeredgecolor": "0.3"}
    hollow = dot | {"markerfacecolor": "none"}
    handles = [
        Line2D([], [], label="episode", **hollow),
        Line2D([], [], label="median", color="black", linestyle="none", marker="|", markersize=9, markeredgewidth=1.4),
        Line2D([], [], label="mean, 95 % interval", color="0.15", marker="D", markersize=3, linewidth=1),
        Line2D([], [], label="exact replay", color="0.25", linewidth=0.8, linestyle="--"),
    ]
    if cut:
        below = f"S below {signed(f'{floor:g}')}, and how many"
        handles.append(Line2D([], [], label=below, **(dot | {"marker": "<", "markerfacecolor": "0.3"})))
    if arrows:
        goes_on = dot | {"marker": CARETLEFTBASE, "markerfacecolor": "0.15", "markeredgecolor": "0.15"}
        handles.append(Line2D([], [], label="interval goes on", **goes_on))
    return handles
