"""Figures of the comparison of detectors: what they flag, and selective success."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from altbench.report.dots import RATES, Dot, draw_dots
from altbench.report.style import PLAIN, styled
from altbench.report.table import percentage

FLAGGED = "episodes flagged at the calibrated threshold, Wilson 95 % interval"


def draw_flagged(data: pd.DataFrame) -> Figure | None:
    """Draw the share of flagged episodes: a line per condition, a panel per detector.

    `data`: detector, condition, flagged, episodes, flagged_low, flagged_high. None if nothing was counted.
    """
    known = data.dropna(subset=["flagged"])
    if known.empty:
        return None
    dots = {}
    for _, row in known.iterrows():
        rate = row["flagged"] / row["episodes"]
        # A table of before has no intervals over poses: its dots have none.
        low, high = (float(row.get(f"flagged_{end}", rate)) for end in ("low", "high"))
        dots[("", str(row["condition"])), str(row["detector"])] = Dot(rate, low, high)
    conditions, detectors = dict.fromkeys(known["condition"]), list(dict.fromkeys(known["detector"]))
    rows = [("", str(condition)) for condition in conditions]
    with styled():
        title = "What detectors on the same keys flag (recall: false alarms)"
        return draw_dots(title, rows, detectors, dots, {label: PLAIN for _, label in rows}, FLAGGED)


def draw_selective(data: pd.DataFrame) -> Figure | None:
    """Draw success over the episodes taken on: a line per share, a panel per detector.

    `data`: detector, coverage, rate, low, high. None if nothing was counted.
    """
    known = data.dropna(subset=["rate"])
    if known.empty:
        return None
    labels = {share: f"plays {percentage(share)} %, the least strange" for share in known["coverage"]}
    labels |= {1.0: "plays all episodes"}
    dots = {
        (("", labels[row["coverage"]]), str(row["detector"])): Dot(row["rate"], row["low"], row["high"])
        for _, row in known.iterrows()
    }
    rows = [("", labels[share]) for share in dict.fromkeys(known["coverage"])]
    with styled():
        title = "ALT at new poses (uniform), if it refuses the episodes whose first image is strangest"
        panels = list(dict.fromkeys(known["detector"]))
        return draw_dots(title, rows, panels, dots, {label: PLAIN for _, label in rows}, RATES)
