"""The figure of a sweep over several data sets: each one's success, and their mean."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from altbench.report.drawing.layout import draw_all
from altbench.report.drawing.stars import unconverged_rows
from altbench.report.figures import draw_by_split, row_stars
from altbench.report.replication import STEM
from altbench.report.style import policy_styles, styled
from altbench.stats.replication import replicated_rate
from altbench.sweeps.spec import CLEAN
from altbench.system.fingerprint import Fingerprint

log = logging.getLogger(__name__)

MOST_PANELS = 8
"""Splits that a figure has room for."""
AXIS = "mean success, 95 % interval; ticks: data sets"


def replication_figure(frame: pd.DataFrame) -> Figure | None:
    """Draw unperturbed success by row and split: each data set's rate, and their mean with its interval.

    A row is drawn at its largest N. A star marks it if a network of it has not converged.
    `frame` is of `load_replicates`. None with fewer than two data sets, or with more
    splits than there is room for. Call this inside `styled`.
    """
    clean = frame[frame["perturbation"] == CLEAN]
    clean = clean[clean["n"] == clean.groupby(["task", "label"])["n"].transform("max")]
    if clean["split"].nunique() > MOST_PANELS:
        return None
    rows = []
    for (task, label, n, split), group in clean.groupby(["task", "label", "n", "split"]):
        found = replicated_rate(group)
        if found is not None and found.low is not None:
            parts = tuple(found.by_data.values())
            rows.append((task, label, n, split, found.rate, found.low, found.high, parts))
    if not rows:
        return None
    drawn = pd.DataFrame(rows, columns=["task", "label", "n", "split", "rate", "low", "high", "parts"])
    policies = dict(zip(clean["label"], clean["policy"], strict=True))
    seeds = ", ".join(str(seed) for seed in sorted(clean["data_seed"].unique()))
    tasks = list(drawn["task"].unique())
    title = f"{tasks[0]}, data sets {seeds}" if len(tasks) == 1 else f"Data sets {seeds}"
    styles, grouped = policy_styles(drawn["label"], policies), len(tasks) > 1
    stars = row_stars(drawn, unconverged_rows(clean), grouped)
    return draw_by_split(drawn, f"{title}: success by split", styles, grouped, AXIS, stars)


def write_figure(frame: pd.DataFrame, folder: Path, made_by: Fingerprint) -> list[Path]:
    """Write `replication_figure` as PNG and SVG into `folder`; return the files, none if there is nothing to draw."""
    with styled():
        figure = replication_figure(frame)
    if figure is None:
        return []
    paths, failures = draw_all([(STEM, lambda: figure)], folder, made_by)
    for name, reason in failures:
        log.warning("%s is not drawn: %s", name, reason)
    return paths
