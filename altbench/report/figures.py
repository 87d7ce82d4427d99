"""The figures of a run as PNG and SVG: success, out-of-distribution scores, costs.

Bars of success are Wilson 95 % intervals. Figures are made without pyplot and inside a
style context. No global state of matplotlib changes, and the same records give the same
bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter
from matplotlib.transforms import ScaledTranslation

from altbench.core.types import Float64
from altbench.report.cost_figures import latency_memory, timed_and_weighed
from altbench.report.dots import Dot, draw_dots
from altbench.report.splits import splits_in_order
from altbench.report.style import (
    Failures,
    Panels,
    Styles,
    draw_all,
    finish,
    folded,
    grid,
    headline,
    legend,
    policy_styles,
    words,
)
from altbench.rollout.records import MISSING, NOT_COUNTED, MeasureRecord
from altbench.stats.parts import PART, Episodes, chosen, counted, gathered, rates_by
from altbench.sweeps.spec import CLEAN
from altbench.system.fingerprint import Fingerprint

CLOSE, APART, BESIDE = (2.0, 8.0), (3.0, 14.0), (13.0, 50.0)
"""How far the dots of several labels stand apart: at an N, at a severity, at a task.

Each is (points from one label to the next, points over all labels at most).
"""
BEYOND = (-0.03, 1.03)
"""Limits of an axis of rates; marks at 0 and 100 % then lie within the panel."""
COSTS = "latency_memory"
"""The figure of time and memory, which shows no episodes."""
MOST_DOTS = 1000
"""Dots that a strip of scores has at most."""
_STRIP = ["perturbation", "severity"]
_SCORES = ["label", "n", *_STRIP, "max_ood_score", "flagged", "ood_threshold"]
RECORDED, INFERRED = "threshold", "threshold, inferred\nfrom the flags"
"""How a threshold of the OOD flag is known, as the legend says it."""
THRESHOLD_LINES = {RECORDED: "--", INFERRED: ":"}


def write_figures(
    episodes: Episodes, measures: Sequence[MeasureRecord], folder: Path, fingerprint: Fingerprint
) -> tuple[list[Path], Failures]:
    """Draw what the records hold into `folder` as <figure>.png and .svg.

    `episodes`: as `results.load_episodes`, or parts of them. Return the files, and the
    figures that could not be drawn. A figure without data is not made. Each says how many
    episodes are missing.
    """
    played = gathered(episodes, _played, [*PART, "label", "n"])
    styles, lacks = policy_styles([*played["label"], *(m.label for m in measures)]), _missing_note(played)
    figures = _figures(counted(episodes), played[played["counted"] > 0], measures, styles)
    noted = ((stem, partial(_noted, draw, "" if stem == COSTS else lacks)) for stem, draw in figures)
    return draw_all(noted, folder, fingerprint)


def _played(part: pd.DataFrame) -> pd.DataFrame:
    """Return a row per label and N of a part: its episodes, those that count, are lost, and have a score."""
    counts = ~part["status"].isin(NOT_COUNTED)
    marked = part.assign(
        episodes=1, counted=counts, lost=part["status"] == MISSING, scored=counts & part["max_ood_score"].notna()
    )
    groups = marked.groupby([*PART, "label", "n"], observed=True, as_index=False)
    return groups[["episodes", "counted", "lost", "scored"]].sum()


def _missing_note(played: pd.DataFrame) -> str:
    """Return a sentence on the episodes that could not be played; empty if all were."""
    lost = played.groupby("label")["lost"].sum()
    by_label = ", ".join(f"{label} {count}" for label, count in lost.items() if count)
    total = int(played["episodes"].sum())
    return f"Not ranked: {lost.sum()} of {total} episodes of the run are missing ({by_label})" if by_label else ""


def _noted(draw: Callable[[], Figure], note: str) -> Figure:
    """Draw a figure, and add `note` to its title."""
    figure = draw()
    if note:
        title = figure.get_suptitle()
        headline(figure, note)
        figure.suptitle(f"{title}\n{figure.get_suptitle()}")
    return figure


def _figures(
    episodes: Episodes, played: pd.DataFrame, measures: Sequence[MeasureRecord], styles: Styles
) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Yield the file stem and the drawing function of every figure that has data.

    `played`: rows of `_played` with episodes that count.
    """
    everywhere = chosen(episodes, perturbation=CLEAN)
    several = played.loc[played["perturbation"] == CLEAN, "task"].nunique() > 1
    if several:
        yield "success_by_task", partial(success_by_task, everywhere, styles)
    for task, own in played.groupby("task"):
        name = str(task).lower()
        clean, perturbed = own[own["perturbation"] == CLEAN], own[own["perturbation"] != CLEAN]
        shown = chosen(everywhere, task=str(task))
        if clean["n"].nunique() > 1:
            yield f"success_by_n_{name}", partial(success_by_n, shown, str(task), styles)
        elif len(clean) and not several:
            yield f"success_by_split_{name}", partial(success_by_split, shown, str(task), styles)
        for split in sorted(set(perturbed["split"])):
            part, where = chosen(episodes, task=str(task), split=split), f"{task}, split {split}"
            yield f"success_by_perturbation_{name}_{split}", partial(success_by_perturbation, part, where, styles)
            if perturbed.loc[perturbed["split"] == split, "scored"].any():
                yield f"ood_scores_{name}_{split}", partial(ood_scores, part, where, styles)
    if len(timed_and_weighed(measures)):
        yield COSTS, partial(latency_memory, measures, styles)


# ---------------------------------------------------------------------------------------------------------- success


def success_by_n(clean: Episodes, task: str, styles: Styles) -> Figure:
    """Draw success against the number of demonstrations, one panel per split."""
    rates = rates_by(clean, ["task", "split", "label", "n"])
    splits = splits_in_order(rates)
    steps = sorted(set(rates["n"]))
    figure, axes = grid(1, len(splits), width=2.9, height=3.1)
    for axis, split in zip(axes[0], splits, strict=True):
        part = rates[rates["split"] == split]
        _lines(axis, part.assign(place=[steps.index(n) for n in part["n"]]), styles, CLOSE)
        axis.set_xticks(range(len(steps)), [str(n) for n in steps])
        axis.set(title=f"split {split}", xlabel="demonstrations (N)", xlim=(-0.5, len(steps) - 0.5))
    _percent(axes)
    finish(figure, f"{task}: success by number of demonstrations", sorted(set(rates["label"])), styles)
    return figure


def success_by_split(clean: Episodes, task: str, styles: Styles) -> Figure:
    """Draw success by policy at the run's only N, one panel per split."""
    found = rates_by(clean, ["task", "split", "label", "n"])
    rates = found.dropna(subset=["rate"])
    splits = [split for split in splits_in_order(found) if split in set(rates["split"])]
    dots = {(str(r["label"]), str(r["split"])): Dot(r["rate"], r["low"], r["high"]) for _, r in rates.iterrows()}
    title = f"{task}, N = {found['n'].iloc[0]}: success by split"
    return draw_dots(title, sorted(set(rates["label"])), splits, dots, styles)


def success_by_task(clean: Episodes, styles: Styles) -> Figure:
    """Draw success on each task at each policy's largest N, one panel per split."""
    every = rates_by(clean, ["split", "label", "task", "n"])
    rates = every[every["n"] == every.groupby(["task", "label"])["n"].transform("max")]
    splits, tasks = splits_in_order(rates), sorted(set(every["task"]))
    figure, axes = grid(len(splits), 1, width=1.0 * len(tasks) + 0.6, height=2.3)
    for axis, split in zip(axes[:, 0], splits, strict=True):
        part = rates[rates["split"] == split]
        _lines(axis, part.assign(place=[tasks.index(t) for t in part["task"]]), styles, BESIDE, joined=False)
        axis.set_xticks(range(len(tasks)), tasks)
        axis.set(title=f"split {split}", xlim=(-0.5, len(tasks) - 0.5))
    _percent(axes)
    counts = sorted(set(rates["n"]))
    finish(figure, f"Success by task, N = {', '.join(str(n) for n in counts)}", sorted(set(rates["label"])), styles)
    return figure


def success_by_perturbation(part: Episodes, where: str, styles: Styles) -> Figure:
    """Draw success against severity (0: clean).

    There is one column per perturbation and one row per N that was perturbed.
    """
    rates = rates_by(part, ["perturbation", "label", "n", "severity"])
    perturbed = rates[rates["perturbation"] != CLEAN]
    names, steps = sorted(set(perturbed["perturbation"])), sorted(set(perturbed["n"]))
    figure, axes = grid(len(steps), len(names), width=2.5, height=2.9)
    for row, n in zip(axes, steps, strict=True):
        labels = set(perturbed.loc[perturbed["n"] == n, "label"])
        own = rates[(rates["n"] == n) & rates["label"].isin(labels)]
        for axis, name in zip(row, names, strict=True):
            shown = own[own["perturbation"].isin([CLEAN, name])]
            _lines(axis, shown.assign(place=shown["severity"]).sort_values("severity"), styles, APART)
            axis.set_title(f"{words(name)}, N = {n}")
    _severities(axes, int(rates["severity"].max()))
    _percent(axes)
    finish(figure, f"{where}: success as the image is perturbed", sorted(set(perturbed["label"])), styles)
    return figure


def _lines(axis: Axes, rates: pd.DataFrame, styles: Styles, apart: tuple[float, float], joined: bool = True) -> None:
    """Draw one line per label over the column `place`; unless `joined`, dots alone.

    Each label stands a little aside of the next, so that intervals do not cover each
    other. `apart`: points from one label to the next, and over all labels at most.
    """
    labels = sorted(set(rates["label"]))
    for i, label in enumerate(labels):
        own, style = rates[rates["label"] == label].dropna(subset=["rate"]), styles[label]
        points = min(apart[0], apart[1] / len(labels)) * (i - (len(labels) - 1) / 2)
        aside = axis.transData + ScaledTranslation(points / 72, 0, axis.figure.dpi_scale_trans)
        if joined:
            axis.plot(*_unbroken(own), color=style.colour, linewidth=1.4, clip_on=False, zorder=3, transform=aside)
        axis.errorbar(
            own["place"],
            own["rate"],
            yerr=np.abs([own["rate"] - own["low"], own["high"] - own["rate"]]),
            color=style.colour,
            marker=style.marker,
            markersize=5,
            linestyle="none",
            elinewidth=1,
            capsize=2,
            clip_on=False,
            zorder=3,
            transform=aside,
        )


def _unbroken(rates: pd.DataFrame) -> tuple[Float64, Float64]:
    """Return places and rates of a line, with NaN where a place between is missing.

    A line must not suggest a rate that was not measured.
    """
    places, values = rates["place"].to_numpy(float), rates["rate"].to_numpy(float)
    gaps = np.flatnonzero(np.diff(places) > 1) + 1
    return np.insert(places, gaps, np.nan), np.insert(values, gaps, np.nan)


def _severities(axes: Panels, highest: int) -> None:
    for axis in axes[-1]:
        axis.set(xlabel="severity (0: clean)", xlim=(-0.5, highest + 0.5))
        axis.set_xticks(range(highest + 1))


def _percent(axes: Panels) -> None:
    for axis in axes.flat:
        axis.set_ylim(*BEYOND)
        axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    for row in axes:
        row[0].set_ylabel("success, 95 % interval")


# ----------------------------------------------------------------------------------------------- out of distribution


def ood_scores(part: Episodes, where: str, styles: Styles) -> Figure:
    """Draw each episode's highest OOD score by severity; of many, `MOST_DOTS` of a strip.

    There is a column per perturbation and a row per policy and N with scores.
    """
    scored = gathered(part, lambda one: one.loc[one["max_ood_score"].notna(), _SCORES], ["label", "n", *_STRIP])
    perturbed = scored[scored["perturbation"] != CLEAN]
    names = sorted(set(perturbed["perturbation"]))
    rows = sorted(set(zip(perturbed["label"], perturbed["n"], strict=True)))
    figure, axes = grid(len(rows), len(names), width=2.5, height=2.4)
    marks: set[str] = set()
    for row, (label, n) in zip(axes, rows, strict=True):
        own = scored[(scored["label"] == label) & (scored["n"] == n)]
        for axis, name in zip(row, names, strict=True):
            _strip(axis, own[own["perturbation"].isin([CLEAN, name])], styles[label].colour)
            axis.set_title(words(name))
        marks |= _mark_thresholds(row, own)
        row[0].set_ylabel(f"{folded(label)}, N = {n}\nhighest OOD score")
    _severities(axes, int(scored["severity"].max()))
    most = int(scored.groupby(["label", "n", *_STRIP]).size().max())
    sampled = f" (of up to {most} in a strip, {MOST_DOTS}, evenly chosen by score)" if most > MOST_DOTS else ""
    headline(figure, f"{where}: out-of-distribution score of each episode{sampled} as the image is perturbed")
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


def _strip(axis: Axes, episodes: pd.DataFrame, colour: str) -> None:
    """Draw episodes as dots, filled if flagged, and the median of each severity."""
    for severity in sorted(set(episodes["severity"])):
        group = episodes[episodes["severity"] == severity].sort_values("max_ood_score", kind="stable")
        scores, flagged = group["max_ood_score"].to_numpy(float), group["flagged"].fillna(False).to_numpy(bool)
        median = float(np.median(scores))
        drawn = np.unique(np.linspace(0, scores.size - 1, min(scores.size, MOST_DOTS)).round().astype(int))
        scores, flagged = scores[drawn], flagged[drawn]
        # Multiples of the golden ratio spread evenly, and the same every time.
        place = severity + 0.5 * ((np.arange(scores.size) * 0.618034) % 1 - 0.5)
        size = 14 if scores.size <= 50 else 6
        for those, face in ((flagged, colour), (~flagged, "none")):
            axis.scatter(place[those], scores[those], s=size, linewidths=0.8, edgecolors=colour, facecolors=face)
        axis.hlines(median, severity - 0.34, severity + 0.34, color="black", linewidth=1.5, zorder=4)


def _strip_legend(marks: set[str]) -> list[Line2D]:
    dot: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 4, "markeredgecolor": "0.3"}
    lines = [
        Line2D([], [], label="flagged", markerfacecolor="0.3", **dot),
        Line2D([], [], label="not flagged", markerfacecolor="none", **dot),
        Line2D([], [], label="median", color="black", linewidth=1.5),
    ]
    dashes = {how: line for how, line in THRESHOLD_LINES.items() if how in marks}
    return lines + [Line2D([], [], label=how, color="0.25", linestyle=x, linewidth=1) for how, x in dashes.items()]
