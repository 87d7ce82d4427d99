"""Figures of perturbed episodes: success and scores by perturbation and severity.

The unperturbed episodes have a panel of their own at the left; the other panels show
the severities that were played, and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from altbench.report.drawing.layout import MOST_POINTS, WIDEST, finish, headline, legend
from altbench.report.drawing.order import labels_in_order
from altbench.report.drawing.places import BEYOND, band_places, draw_lines
from altbench.report.drawing.stars import Unconverged, stars_among
from altbench.report.style import Style, Styles, folded, per_cent, words
from altbench.stats.parts import Episodes, gathered, rates_by
from altbench.sweeps.spec import CLEAN

MOST_PLACES = 13
"""Severities in a row of panels at most; further perturbations go on in the next row."""
MOST_DOTS = 1000
"""Dots that a strip of scores has at most."""
_STRIP = ["perturbation", "severity"]
_SCORES = ["task", "label", "n", *_STRIP, "max_ood_score", "flagged", "ood_threshold"]
RECORDED, INFERRED = "threshold", "threshold, inferred from the flags"
"""How a threshold of the OOD flag is known, as the legend says it."""
THRESHOLD_LINES = {RECORDED: "--", INFERRED: ":"}


@dataclass(frozen=True)
class Panel:
    """A panel of one perturbation (`CLEAN`: unperturbed) and its severities."""

    name: str
    severities: tuple[int, ...]

    @property
    def title(self) -> str:
        """What stands above it."""
        return "" if self.name == CLEAN else words(self.name)

    @property
    def names(self) -> list[str]:
        """What stands below its places."""
        return ["clean"] if self.name == CLEAN else [str(severity) for severity in self.severities]

    def placed(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the panel's rows of `frame`, with their place and step."""
        own = frame[frame["perturbation"] == self.name]
        return own.assign(place=[self.severities.index(s) for s in own["severity"]], step=own["severity"])


def panel_rows(frame: pd.DataFrame) -> list[list[Panel]]:
    """Return the panels of all perturbations in `frame`, in rows that fit a page."""
    perturbed = frame[frame["perturbation"] != CLEAN]
    clean = [Panel(CLEAN, (0,))] if (frame["perturbation"] == CLEAN).any() else []
    rows, used = [list(clean)], 0
    for name, own in perturbed.groupby("perturbation"):
        one = Panel(str(name), tuple(sorted(set(map(int, own["severity"])))))
        wide = max(2, len(one.severities))
        if used and used + wide > MOST_PLACES:
            rows, used = [*rows, list(clean)], 0
        rows[-1].append(one)
        used += wide
    return rows


def panel_figure(rows: Sequence[Sequence[Panel]], height: float, place: float) -> tuple[Figure, list[list[Axes]]]:
    """Make a figure of rows of panels, each as wide as it has places (inches)."""
    units = [[1.25 if p.name == CLEAN else max(2, len(p.severities)) for p in row] for row in rows]
    widest = max(map(sum, units))
    figure = Figure(
        figsize=(min(WIDEST, max(5.0, 0.9 + place * widest)), 0.9 + height * len(rows)), layout="constrained"
    )
    outer = figure.add_gridspec(len(rows), 1)
    axes: list[list[Axes]] = []
    for i, own in enumerate(units):
        filled = [*own, widest - sum(own)] if sum(own) < widest else own
        inner = outer[i].subgridspec(1, len(filled), width_ratios=filled, wspace=0.04)
        first = figure.add_subplot(inner[0])
        axes.append([first, *(figure.add_subplot(inner[j], sharey=first) for j in range(1, len(own)))])
    for row in axes:
        for axis in row[1:]:
            axis.tick_params(labelleft=False)
    seaborn.despine(fig=figure)
    return figure, axes


def _dress(axes: Sequence[Axes], panels: Sequence[Panel]) -> None:
    for axis, panel in zip(axes, panels, strict=True):
        band_places(axis, panel.names)
        axis.set_title(panel.title)
        if panel.name != CLEAN:
            axis.set_xlabel("severity")


def success_by_perturbation(part: Episodes, where: str, styles: Styles, short: Unconverged = frozenset()) -> Figure:
    """Draw success by perturbation and severity, in rows of panels per N.

    `short`: the rows that have not converged.
    """
    every = rates_by(part, ["task", "perturbation", "label", "n", "severity"])
    perturbed = every[every["perturbation"] != CLEAN]
    steps, labels = sorted(set(perturbed["n"])), labels_in_order(perturbed["label"])
    rates = every[every["label"].isin(labels)]
    rows = [(n, panels) for n in steps for panels in panel_rows(every[every["n"] == n])]
    figure, axes = panel_figure([panels for _, panels in rows], 2.3, 0.14 * max(3, len(labels)) + 0.1)
    for own, (n, panels) in zip(axes, rows, strict=True):
        there = set(perturbed.loc[perturbed["n"] == n, "label"])
        shown = rates[(rates["n"] == n) & rates["label"].isin(there)]
        for axis, panel in zip(own, panels, strict=True):
            draw_lines(axis, panel.placed(shown), styles, labels)
            axis.set_ylim(*BEYOND)
            axis.yaxis.set_major_formatter(per_cent())
        _dress(own, panels)
        own[0].set_ylabel(("" if len(steps) == 1 else f"N = {n}\n") + "success, 95 % interval")
    only = f", N = {steps[0]}" if len(steps) == 1 else ""
    stars = stars_among(perturbed, short, perturbed["label"])
    finish(figure, f"{where}{only}: success under perturbation", labels, styles, stars)
    return figure


def ood_scores(part: Episodes, where: str, styles: Styles, short: Unconverged = frozenset()) -> Figure:
    """Draw each episode's highest OOD score by perturbation and severity; of many,
    `MOST_DOTS` of a strip.

    There are rows of panels per policy and N with scores. `short`: the rows that have not
    converged.
    """
    scored = gathered(part, lambda one: one.loc[one["max_ood_score"].notna(), _SCORES], ["label", "n", *_STRIP])
    perturbed = scored[scored["perturbation"] != CLEAN]
    pairs = set(zip(perturbed["label"], perturbed["n"], strict=True))
    order = [
        (label, n) for label in labels_in_order(perturbed["label"]) for n in sorted({n for x, n in pairs if x == label})
    ]
    own_of = {(x, n): scored[(scored["label"] == x) & (scored["n"] == n)] for x, n in order}
    rows = [(key, panels) for key in order for panels in panel_rows(own_of[key])]
    figure, axes = panel_figure([panels for _, panels in rows], 2.0, 0.7)
    stars = stars_among(perturbed, short, zip(perturbed["label"], perturbed["n"], strict=True))
    marks: set[str] = set()
    for own, ((label, n), panels) in zip(axes, rows, strict=True):
        episodes = own_of[label, n]
        for axis, panel in zip(own, panels, strict=True):
            _strip(axis, panel.placed(episodes), styles[label], rasterized=len(scored) > MOST_POINTS)
        _dress(own, panels)
        marks |= _mark_thresholds(own, episodes)
        own[0].set_ylabel(f"{folded(stars.named((label, n), styles[label].name or label))}, N = {n}\nhighest score")
    most = int(scored.groupby(["label", "n", *_STRIP]).size().max())
    sampled = f"\nof up to {most:,} episodes in a strip {MOST_DOTS:,} are shown, evenly chosen by score"
    title = f"{where}: strangeness of each episode (highest OOD score)"
    headline(figure, stars.under(title + (sampled if most > MOST_DOTS else "")))
    legend(figure, _strip_legend(marks))
    return figure


def _mark_thresholds(row: Iterable[Axes], episodes: pd.DataFrame) -> set[str]:
    """Draw the flag's threshold, one for each fit, into each panel of a row.

    Return how it is known, as the legend says it; nothing if it is unknown.
    """
    recorded = sorted(set(episodes["ood_threshold"].dropna()))
    inferred = None if recorded else threshold_between(episodes)
    how = RECORDED if recorded else INFERRED
    thresholds = recorded if inferred is None else [inferred]
    for axis in row:
        for threshold in thresholds:
            axis.axhline(threshold, color="0.25", linestyle=THRESHOLD_LINES[how], linewidth=1)
    return {how} if thresholds else set()


def threshold_between(episodes: pd.DataFrame) -> float | None:
    """Return the middle between the highest unflagged and the lowest flagged score.

    None if no single value separates flagged from unflagged episodes.
    """
    known = episodes[episodes["flagged"].notna()]
    flags, scores = known["flagged"].to_numpy(bool), known["max_ood_score"].to_numpy(float)
    if flags.all() or not flags.any() or scores[~flags].max() >= scores[flags].min():
        return None
    return float((scores[~flags].max() + scores[flags].min()) / 2)


def _strip(axis: Axes, episodes: pd.DataFrame, style: Style, rasterized: bool) -> None:
    """Draw episodes as dots, filled if flagged, and the median of each severity."""
    for place, group in _places(episodes):
        scores, flagged = group["max_ood_score"].to_numpy(float), group["flagged"].fillna(False).to_numpy(bool)
        median = float(np.median(scores))
        drawn = np.unique(np.linspace(0, scores.size - 1, min(scores.size, MOST_DOTS)).round().astype(int))
        scores, flagged = scores[drawn], flagged[drawn]
        # Multiples of the golden ratio spread evenly, and the same every time.
        across = place + 0.6 * ((np.arange(scores.size) * 0.618034) % 1 - 0.5)
        size = 12 if scores.size <= 50 else 5
        for chosen, face in ((flagged, style.colour), (~flagged, "none")):
            dots: dict[str, Any] = {"s": size, "linewidths": 0.7, "edgecolors": style.colour, "facecolors": face}
            axis.scatter(across[chosen], scores[chosen], **dots, zorder=3, rasterized=rasterized)
        axis.hlines(median, place - 0.36, place + 0.36, color="black", linewidth=1.5, zorder=4)


def _places(episodes: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    for place in sorted(set(episodes["place"])):
        yield place, episodes[episodes["place"] == place].sort_values("max_ood_score", kind="stable")


def _strip_legend(marks: set[str]) -> list[Line2D]:
    dot: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 4, "markeredgecolor": "0.3"}
    lines = [
        Line2D([], [], label="flagged", markerfacecolor="0.3", **dot),
        Line2D([], [], label="not flagged", markerfacecolor="none", **dot),
        Line2D([], [], label="median", color="black", linewidth=1.5),
    ]
    dashes = {how: line for how, line in THRESHOLD_LINES.items() if how in marks}
    return lines + [Line2D([], [], label=how, color="0.25", linestyle=x, linewidth=1) for how, x in dashes.items()]
