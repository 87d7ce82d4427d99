"""Figures of the comparison of detectors: scores by condition, and selective success."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from altbench.experiments.ood_scores import NEW_POSE, Fitted, selective
from altbench.report.style import COLOURS, headline, styled


def draw_scores(fitted: Sequence[Fitted]) -> Figure:
    """Draw a panel per detector: each episode's highest score, and the threshold."""
    with styled():
        figure = Figure(figsize=(10, 3.9), layout="constrained")
        axes = figure.subplots(1, len(fitted), squeeze=False)[0]
        for axis, one in zip(axes, fitted, strict=True):
            for i, (name, scores) in enumerate(one.highest.items()):
                # Multiples of the golden ratio spread evenly, and without chance.
                place = i + 0.6 * ((np.arange(len(scores)) * 0.618034) % 1 - 0.5)
                colour = COLOURS[4] if name == "recall" else COLOURS[2] if name == NEW_POSE else COLOURS[3]
                axis.scatter(place, np.sort(scores), s=7, color=colour, linewidths=0, alpha=0.65)
            axis.axhline(one.threshold, color="0.25", linestyle="--", linewidth=1)
            axis.set_xticks(range(len(one.highest)), list(one.highest), rotation=35, ha="right")
            axis.set_title(one.detector.name)
            axis.grid(visible=False, axis="x")
        axes[0].set_ylabel("an episode's highest score")
        headline(figure, "Strangeness of episodes by detector; dashed: calibrated threshold")
    return figure


def draw_selective(fitted: Sequence[Fitted]) -> Figure | None:
    """Draw success over the episodes taken on against their share, a line per detector."""
    embedded = fitted[0].embedded.get(NEW_POSE)
    if embedded is None:
        return None
    total = len(embedded.success)
    with styled():
        figure = Figure(figsize=(5.6, 3.5), layout="constrained")
        axis = figure.subplots()
        for one, colour, style in zip(fitted, COLOURS[0:7:3], ("-", "--", ":"), strict=False):
            rates = [selective(one, k / total) for k in range(max(1, total // 10), total + 1)]
            shares = [r.episodes / total for r in rates]
            axis.plot(shares, [r.value or 0.0 for r in rates], color=colour, linestyle=style, label=one.detector.name)
            if one is fitted[0]:
                low, high = [r.low or 0.0 for r in rates], [r.high or 0.0 for r in rates]
                axis.fill_between(shares, low, high, color=colour, alpha=0.12, linewidth=0, label="95 % (lookup)")
        for set_formatter in (axis.xaxis, axis.yaxis):
            set_formatter.set_major_formatter(PercentFormatter(1.0))
        axis.set(xlim=(0, 1.01), ylim=(0, 1), xlabel="share of episodes taken on", ylabel="success over those")
        axis.legend(frameon=False, loc="upper right")
        headline(figure, "ALT in new poses when the strangest are refused")
    return figure
