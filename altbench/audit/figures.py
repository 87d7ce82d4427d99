"""The audit's figures: the likeness of one episode to each demonstration, as bars, and
S by case.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import CARETDOWNBASE

from altbench.audit.cases import CASES, AuditedEpisode
from altbench.audit.tables import score
from altbench.core.types import Float64
from altbench.report.style import COLOURS, Style, Styles, folded, grid, headline, legend
from altbench.stats.memorisation import Likeness
from altbench.stats.scores import summarise

NEAREST, SECOND, OTHERS = COLOURS[3], COLOURS[2], "0.72"
LOWEST = -2.0
"""The lowest S with a place of its own. Lower ones are drawn at the lower edge and
counted: a stray one would squeeze the others.
"""


def similarity_bars(audited: Sequence[AuditedEpisode], title: str) -> Figure:
    """Draw one episode's similarity to each demonstration, sorted: a column per case,
    its highest and median S.

    Similarity is 1 - distance / the greatest distance of a demonstration: 1 is
    identical, 0 the farthest one.
    """
    scored = [a for a in audited if a.likeness is not None and a.likeness.s is not None]
    cases = [case for case in CASES if any(a.case == case for a in scored)]
    figure, axes = grid(2, len(cases), width=2.6, height=2.1)
    for column, case in enumerate(cases):
        own = sorted((a for a in scored if a.case == case), key=lambda a: a.s or 0.0)
        for row, one in enumerate((own[-1], own[(len(own) - 1) // 2])):
            assert one.likeness is not None
            _bars(axes[row][column], one.likeness)
            heading = f"{case.title}\n" if row == 0 else ""
            axes[row][column].set_title(f"{heading}episode {one.record.episode}: S = {score(one.s)}")
    for row, name in zip(axes, ("highest S", "median S"), strict=True):
        row[0].set_ylabel(f"{name}\nsimilarity to demonstration")
    for axis in axes[-1]:
        axis.set_xlabel("demonstrations, nearest first")
    bar: dict[str, Any] = {"linestyle": "none", "marker": "s", "markersize": 8}
    legend(figure, [Line2D([], [], label=name, color=colour, **bar) for colour, name in _KINDS])
    headline(figure, f"{title} (1 - distance / the farthest one's distance)")
    return figure


_KINDS = ((NEAREST, "nearest"), (SECOND, "second nearest"), (OTHERS, "others"))


def _bars(axis: Axes, found: Likeness) -> None:
    distances = np.sort(np.array(found.distances))
    heights = 1.0 - distances / max(distances[-1], 1e-12)
    colours = [NEAREST, SECOND, *[OTHERS] * (len(heights) - 2)]
    axis.bar(np.arange(1, len(heights) + 1), heights, width=0.8, color=colours, linewidth=0)
    axis.set(ylim=(0, 1.02), xlim=(0.2, len(heights) + 0.8))
    axis.grid(visible=False, axis="x")
    lines = (found.to_nearest, found.to_second, found.between)
    text = "\n".join(f"{n} {1000 * d:.1f} mm" for n, d in zip(("nearest", "second", "apart"), lines, strict=True))
    white = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
    axis.text(0.97, 0.97, text, transform=axis.transAxes, ha="right", va="top", fontsize=6.5, color="0.25", bbox=white)


def distribution(frame: pd.DataFrame, title: str, styles: Styles) -> Figure:
    """Draw S of each episode by case, a panel per policy: dots, median, and the mean
    with its 95 % interval.
    """
    scored = frame[frame["s"].notna()]
    labels = sorted(set(scored["label"]))
    cases = [case for case in CASES if case.name in set(scored["case"])]
    columns = min(3, len(labels))
    figure, axes = grid(-(-len(labels) // columns), columns, width=3.7, height=2.9)
    for i, axis in enumerate(axes.flat):
        axis.set_visible(i < len(labels))
        axis.tick_params(labelbottom=i + columns >= len(labels))
    floor = max(LOWEST, float(scored["s"].min()) - 0.1)
    arrows = False
    for axis, label in zip(axes.flat, labels, strict=False):
        own = scored[scored["label"] == label]
        for place, case in enumerate(cases):
            arrows |= _strip(axis, own.loc[own["case"] == case.name, "s"].to_numpy(float), place, styles[label], floor)
        axis.set_title(folded(label))
        axis.set_xticks(range(len(cases)), [case.title.replace(" ", "\n") for case in cases], fontsize=6.5)
        axis.set(xlim=(-0.5, len(cases) - 0.5), ylim=(floor - 0.3, 1.05))
        axis.axhline(1.0, color="0.25", linewidth=0.8, linestyle="--")
    for row in axes:
        row[0].set_ylabel("S (1: exact replay)")
    legend(figure, _legend(bool((scored["s"] < floor).any()), arrows, floor))
    headline(figure, title)
    return figure


def _strip(axis: Axes, scores: Float64, place: int, style: Style, floor: float) -> bool:
    """Draw episodes as dots, with their median and mean.

    Return whether the mean's interval ends in an arrow head. Multiples of the golden
    ratio spread the dots sideways: evenly, and without random numbers.
    """
    if len(scores) == 0:
        return False
    across = place + 0.5 * ((np.arange(len(scores)) * 0.618034) % 1 - 0.5)
    inside = scores >= floor
    axis.scatter(across[inside], scores[inside], s=7, linewidths=0.6, edgecolors=style.colour, facecolors="none")
    if (~inside).any():
        bottom = np.full(int((~inside).sum()), floor)
        axis.scatter(across[~inside], bottom, s=9, marker="v", linewidths=0, facecolors=style.colour, alpha=0.6)
        axis.text(place, floor - 0.06, str(len(bottom)), ha="center", va="top", fontsize=6.5)
    _median(axis, scores, place, floor)
    return _mean(axis, scores, place, floor)


def _median(axis: Axes, scores: Float64, place: int, floor: float) -> None:
    """Draw the median as a line; below `floor` it is dotted, at the lower edge."""
    median = float(np.median(scores))
    y, left, right = max(median, floor), place - 0.36, place + 0.36
    axis.hlines(y, left, right, colors="white", linewidth=3, zorder=3.9)  # a rim, since dots may be black
    axis.hlines(y, left, right, colors="black", linewidth=1.4, ls="-" if median >= floor else ":", zorder=4)


def _mean(axis: Axes, scores: Float64, place: int, floor: float) -> bool:
    """Draw the mean with its interval.

    A mean below `floor` is a triangle at the lower edge. An interval that goes on below
    `floor` ends in an arrow head there, not in a cap; return whether this one does.
    """
    found, x = summarise(scores.tolist()), place + 0.36
    assert found.mean is not None
    axis.plot([x], [max(found.mean, floor)], color="black", markersize=3, marker="D" if found.mean >= floor else "v")
    if found.low is None or found.high is None:
        return False
    axis.vlines(x, max(found.low, floor), max(found.high, floor), colors="black", linewidth=1)
    for end in (found.low, found.high):
        if end >= floor:
            axis.plot([x], [end], color="black", markersize=4, marker="_")
    cut = found.low < floor <= found.mean  # a mean below has a triangle of its own, which points down there
    if cut:
        axis.plot([x], [floor], color="black", markersize=5.5, marker=CARETDOWNBASE, clip_on=False)
    return cut


def _legend(cut: bool, arrows: bool, floor: float) -> list[Line2D]:
    dot: dict[str, Any] = {
        "linestyle": "none",
        "marker": "o",
        "markersize": 4,
        "markeredgecolor": "0.3",
        "markerfacecolor": "none",
    }
    mean = "mean, 95 % interval" + ("\n(arrow: goes on below)" if arrows else "")
    handles = [
        Line2D([], [], label="episode", **dot),
        Line2D([], [], label="median", color="black", linewidth=1.4),
        Line2D([], [], label=mean, color="black", marker="D", markersize=3, linewidth=1),
    ]
    low = dot | {"marker": "v", "markerfacecolor": "0.3"}
    below = Line2D([], [], label=f"S below {floor:g}, and how many", **low)
    return [*handles, below] if cut else handles
