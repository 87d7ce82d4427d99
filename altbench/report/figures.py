"""The figures of a run as PNG and SVG: success, out-of-distribution scores, costs.

Bars of success are Wilson 95 % intervals. Figures are made without pyplot and inside a
style context. No global state of matplotlib changes, and the same records give the same
bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from altbench.report.cost_figures import latency_memory, timed_and_weighed
from altbench.report.dots import Dot, Row, draw_dots
from altbench.report.drawing.layout import Failures, draw_all, finish, grid, headline
from altbench.report.drawing.order import labels_in_order, tasks_in_order
from altbench.report.drawing.places import BEYOND, band_places, draw_lines
from altbench.report.drawing.severities import ood_scores, success_by_perturbation
from altbench.report.splits import splits_in_order
from altbench.report.style import Panels, Styles, per_cent, policy_styles, words
from altbench.report.success import unconverged_rows
from altbench.rollout.records import MISSING, MeasureRecord
from altbench.stats.rates import countable, success_rates
from altbench.sweeps.spec import CLEAN
from altbench.system.fingerprint import Fingerprint

COSTS = "latency_memory"
"""The figure of time and memory, which shows no episodes."""
UNCONVERGED = "* Not ranked: the network has not converged"


def write_figures(
    frame: pd.DataFrame, measures: Sequence[MeasureRecord], folder: Path, fingerprint: Fingerprint
) -> tuple[list[Path], Failures]:
    """Draw what the records hold into `folder` as <figure>.png and .svg.

    Return the files, and the figures that could not be drawn. A figure without data is
    not made. Each says how many episodes are missing.
    """
    styles, lacks = run_styles(frame, measures), _missing_note(frame)
    short = UNCONVERGED if any(style.name.endswith(" *") for style in styles.values()) else ""
    note = "\n".join(filter(None, (lacks, short)))
    figures = _figures(countable(frame), measures, styles)
    noted = ((stem, partial(_noted, draw, "" if stem == COSTS else note)) for stem, draw in figures)
    return draw_all(noted, folder, fingerprint)


def run_styles(frame: pd.DataFrame, measures: Sequence[MeasureRecord] = ()) -> Styles:
    """Return how a run's rows are drawn and named, by label."""
    policies = {m.label: m.policy for m in measures}
    policies |= dict(zip(frame["label"], frame["policy"], strict=True))
    short = {label for _, label, _ in unconverged_rows(frame)}
    return policy_styles([*frame["label"], *policies], policies, short)


def _missing_note(frame: pd.DataFrame) -> str:
    """Return a sentence on the episodes that could not be played; empty if all were."""
    lost = frame[frame["status"] == MISSING]
    by_label = ", ".join(f"{label} {len(group)}" for label, group in lost.groupby("label"))
    return f"Not ranked: {len(lost)} of {len(frame)} episodes of the run are missing ({by_label})" if by_label else ""


def _noted(draw: Callable[[], Figure], note: str) -> Figure:
    """Draw a figure, and add `note` to its title."""
    figure = draw()
    if note:
        headline(figure, f"{figure.get_suptitle()}\n{note}".strip())
    return figure


def _figures(
    frame: pd.DataFrame, measures: Sequence[MeasureRecord], styles: Styles
) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Yield the file stem and the drawing function of every figure that has data."""
    everywhere = frame[frame["perturbation"] == CLEAN]
    several = everywhere["task"].nunique() > 1
    if several:
        yield "success_by_task", partial(success_by_task, everywhere, styles)
    for task, own in frame.groupby("task"):
        name = str(task).lower()
        clean, perturbed = own[own["perturbation"] == CLEAN], own[own["perturbation"] != CLEAN]
        if clean["n"].nunique() > 1:
            yield f"success_by_n_{name}", partial(success_by_n, clean, str(task), styles)
        elif len(clean) and not several:
            yield f"success_by_split_{name}", partial(success_by_split, clean, str(task), styles)
        for split in sorted(set(perturbed["split"])):
            part, where = own[own["split"] == split], f"{task}, {words(split)}"
            yield f"success_by_perturbation_{name}_{split}", partial(success_by_perturbation, part, where, styles)
            if perturbed.loc[perturbed["split"] == split, "max_ood_score"].notna().any():
                yield f"ood_scores_{name}_{split}", partial(ood_scores, part, where, styles)
    if len(timed_and_weighed(measures)):
        yield COSTS, partial(latency_memory, measures, styles)


def success_by_n(clean: pd.DataFrame, task: str, styles: Styles) -> Figure:
    """Draw success against the number of demonstrations, one panel per split."""
    return rates_by_n(success_rates(clean, ["split", "label", "n"]), splits_in_order(clean), task, styles)


def rates_by_n(rates: pd.DataFrame, splits: Sequence[str], task: str, styles: Styles) -> Figure:
    """Draw `rates` (split, label, n, rate, low, high) against n, one panel per split."""
    steps, labels = sorted(set(rates["n"])), labels_in_order(rates["label"])
    figure, axes = grid(1, len(splits), width=0.5 + 0.62 * len(steps) * max(1, len(labels) / 5), height=2.7)
    for axis, split in zip(axes[0], splits, strict=True):
        part = rates[rates["split"] == split]
        placed = part.assign(place=[steps.index(n) for n in part["n"]], step=[steps.index(n) for n in part["n"]])
        draw_lines(axis, placed, styles, labels)
        band_places(axis, [str(n) for n in steps])
        axis.set(title=words(split), xlabel="demonstrations (N)")
    percent_axes(axes)
    finish(figure, f"{task}: success by number of demonstrations", labels, styles)
    return figure


def percent_axes(axes: Panels) -> None:
    """Give panels axes of rates, the left ones with a label."""
    for axis in axes.flat:
        axis.set_ylim(*BEYOND)
        axis.yaxis.set_major_formatter(per_cent())
    for row in axes:
        row[0].set_ylabel("success, 95 % interval")


def success_by_split(clean: pd.DataFrame, task: str, styles: Styles) -> Figure:
    """Draw success by policy at the run's only N, one panel per split."""
    return _by_split(clean, f"{task}, N = {clean['n'].iloc[0]}: success by split", styles, grouped=False)


def success_by_task(clean: pd.DataFrame, styles: Styles) -> Figure:
    """Draw success on each task at each policy's largest N, one panel per split."""
    largest = clean[clean["n"] == clean.groupby(["task", "label"])["n"].transform("max")]
    counts = ", ".join(str(n) for n in sorted(set(largest["n"])))
    return _by_split(largest, f"Success by task and split, N = {counts}", styles, grouped=True)


def _by_split(clean: pd.DataFrame, title: str, styles: Styles, grouped: bool) -> Figure:
    """Draw a row per policy, under its task's name if `grouped`, and a panel per split."""
    rates = success_rates(clean, ["task", "split", "label"]).dropna(subset=["rate"])
    splits = [split for split in splits_in_order(clean) if split in set(rates["split"])]
    there = set(zip(rates["task"], rates["label"], strict=True))
    rows: list[Row] = [
        (task if grouped else "", label)
        for task in tasks_in_order(rates["task"])
        for label in labels_in_order(rates["label"])
        if (task, label) in there
    ]
    dots = {
        ((r["task"] if grouped else "", str(r["label"])), words(r["split"])): Dot(r["rate"], r["low"], r["high"])
        for _, r in rates.iterrows()
    }
    return draw_dots(title, rows, [words(split) for split in splits], dots, styles)
