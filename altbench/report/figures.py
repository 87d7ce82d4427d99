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
from altbench.report.dots import RATES, Dot, Row, draw_dots
from altbench.report.drawing.layout import Failures, draw_all, finish, grid, headline
from altbench.report.drawing.order import labels_in_order, tasks_in_order
from altbench.report.drawing.places import BEYOND, band_places, draw_lines
from altbench.report.drawing.severities import ood_scores, success_by_perturbation
from altbench.report.drawing.stars import NO_STARS, Stars, Unconverged, stars_among, unconverged_rows
from altbench.report.splits import splits_in_order
from altbench.report.style import Panels, Styles, per_cent, policy_styles, words
from altbench.rollout.records import MISSING, NOT_COUNTED, MeasureRecord
from altbench.stats.parts import PART, Episodes, chosen, counted, gathered, rates_by
from altbench.sweeps.spec import CLEAN
from altbench.system.fingerprint import Fingerprint

COSTS = "latency_memory"
"""The figure of time and memory, which shows no episodes."""


def write_figures(
    episodes: Episodes, measures: Sequence[MeasureRecord], folder: Path, fingerprint: Fingerprint
) -> tuple[list[Path], Failures]:
    """Draw what the records hold into `folder` as <figure>.png and .svg.

    `episodes`: as `results.load_episodes`, or parts of them. Return the files, and the
    figures that could not be drawn. A figure without data is not made. Each says how many
    episodes are missing.
    """
    played = _played(episodes)
    lacks = _missing_note(played)
    figures = _figures(counted(episodes), played[played["counted"] > 0], measures, _styles(played, measures))
    noted = ((stem, partial(_noted, draw, "" if stem == COSTS else lacks)) for stem, draw in figures)
    return draw_all(noted, folder, fingerprint)


def run_styles(episodes: Episodes) -> Styles:
    """Return how a run's rows are drawn and named, by label."""
    return _styles(_played(episodes), ())


def _styles(played: pd.DataFrame, measures: Sequence[MeasureRecord]) -> Styles:
    policies = {m.label: m.policy for m in measures}
    policies |= dict(zip(played["label"], played["policy"], strict=True))
    return policy_styles(policies, policies)


def _played(episodes: Episodes) -> pd.DataFrame:
    """Return a row per part, label and N: its policy, its episodes, and those that count, are lost, have a score.

    `short`: whether the row has not converged.
    """
    return gathered(episodes, _played_part, [*PART, "label", "n"])


def _played_part(part: pd.DataFrame) -> pd.DataFrame:
    counts, late = ~part["status"].isin(NOT_COUNTED), unconverged_rows(part)
    marked = part.assign(
        episodes=1,
        counted=counts,
        lost=part["status"] == MISSING,
        scored=counts & part["max_ood_score"].notna(),
        short=[key in late for key in zip(part["task"], part["label"], part["n"], strict=True)],
    )
    groups = marked.groupby([*PART, "label", "n"], observed=True, as_index=False)
    sums = dict.fromkeys(("episodes", "counted", "lost", "scored"), "sum")
    return groups.agg({"policy": "first", **sums, "short": "any"})


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
        headline(figure, f"{figure.get_suptitle()}\n{note}".strip())
    return figure


def _figures(
    episodes: Episodes, played: pd.DataFrame, measures: Sequence[MeasureRecord], styles: Styles
) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Yield the file stem and the drawing function of every figure that has data.

    `played`: rows of `_played` with episodes that count.
    """
    short = set(played.loc[played["short"], ["task", "label", "n"]].itertuples(index=False, name=None))
    everywhere = chosen(episodes, perturbation=CLEAN)
    several = played.loc[played["perturbation"] == CLEAN, "task"].nunique() > 1
    if several:
        yield "success_by_task", partial(success_by_task, everywhere, styles, short)
    for task, own in played.groupby("task"):
        name = str(task).lower()
        clean, perturbed = own[own["perturbation"] == CLEAN], own[own["perturbation"] != CLEAN]
        shown = chosen(everywhere, task=str(task))
        if clean["n"].nunique() > 1:
            yield f"success_by_n_{name}", partial(success_by_n, shown, str(task), styles, short)
        elif len(clean) and not several:
            yield f"success_by_split_{name}", partial(success_by_split, shown, str(task), styles, short)
        for split in sorted(set(perturbed["split"])):
            part, where = chosen(episodes, task=str(task), split=split), f"{task}, {words(split)}"
            yield (
                f"success_by_perturbation_{name}_{split}",
                partial(success_by_perturbation, part, where, styles, short),
            )
            if perturbed.loc[perturbed["split"] == split, "scored"].any():
                yield f"ood_scores_{name}_{split}", partial(ood_scores, part, where, styles, short)
    if len(timed_and_weighed(measures)):
        yield COSTS, partial(latency_memory, measures, styles)


def success_by_n(clean: Episodes, task: str, styles: Styles, short: Unconverged = frozenset()) -> Figure:
    """Draw success against the number of demonstrations, one panel per split.

    `short`: the rows that have not converged.
    """
    rates = rates_by(clean, ["task", "split", "label", "n"])
    stars = stars_among(rates, short, rates["label"])
    return rates_by_n(rates, splits_in_order(rates), task, styles, stars)


def rates_by_n(
    rates: pd.DataFrame, splits: Sequence[str], task: str, styles: Styles, stars: Stars = NO_STARS
) -> Figure:
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
    finish(figure, f"{task}: success by number of demonstrations", labels, styles, stars)
    return figure


def percent_axes(axes: Panels) -> None:
    """Give panels axes of rates, the left ones with a label."""
    for axis in axes.flat:
        axis.set_ylim(*BEYOND)
        axis.yaxis.set_major_formatter(per_cent())
    for row in axes:
        row[0].set_ylabel("success, 95 % interval")


def success_by_split(clean: Episodes, task: str, styles: Styles, short: Unconverged = frozenset()) -> Figure:
    """Draw success by policy at the run's only N, one panel per split.

    `short`: the rows that have not converged.
    """
    rates = rates_by(clean, ["task", "split", "label", "n"])
    title = f"{task}, N = {rates['n'].iloc[0]}: success by split"
    return draw_by_split(rates, title, styles, grouped=False, stars=row_stars(rates, short, grouped=False))


def success_by_task(clean: Episodes, styles: Styles, short: Unconverged = frozenset()) -> Figure:
    """Draw success on each task at each policy's largest N, one panel per split.

    `short`: the rows that have not converged.
    """
    rates = rates_by(clean, ["task", "split", "label", "n"])
    largest = rates[rates["n"] == rates.groupby(["task", "label"])["n"].transform("max")]
    counts = ", ".join(str(n) for n in sorted(set(largest["n"])))
    title = f"Success by task and split, N = {counts}"
    return draw_by_split(largest, title, styles, grouped=True, stars=row_stars(largest, short, grouped=True))


def row_stars(rates: pd.DataFrame, short: Unconverged, grouped: bool) -> Stars:
    """Return the stars of the rows that `draw_by_split` draws of `rates`."""
    rows = zip(rates["task"], rates["label"], strict=True)
    return stars_among(rates, short, [(task if grouped else "", label) for task, label in rows])


def draw_by_split(
    found: pd.DataFrame,
    title: str,
    styles: Styles,
    grouped: bool,
    axis_label: str = RATES,
    stars: Stars = NO_STARS,
) -> Figure:
    """Draw a row per policy, under its task's name if `grouped`, and a panel per split.

    `found`: a row for each dot, with the columns task, label, split, rate, low, high and,
    if rates are means, `parts`. Call this inside `styled`.
    """
    rates = found.dropna(subset=["rate"])
    splits = [split for split in splits_in_order(found) if split in set(rates["split"])]
    there = set(zip(rates["task"], rates["label"], strict=True))
    rows: list[Row] = [
        (task if grouped else "", label)
        for task in tasks_in_order(rates["task"])
        for label in labels_in_order(rates["label"])
        if (task, label) in there
    ]
    dots = {
        ((r["task"] if grouped else "", str(r["label"])), words(r["split"])): Dot(
            r["rate"], r["low"], r["high"], r.get("parts", ())
        )
        for _, r in rates.iterrows()
    }
    return draw_dots(title, rows, [words(split) for split in splits], dots, styles, axis_label, stars)
