"""Panels whose x axis is a row of named places: numbers of demonstrations, severities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from altbench.core.types import Float64
from altbench.report.style import Styles

BEYOND = (-0.04, 1.04)
"""Limits of an axis of rates; marks at 0 and 100 % then lie within the panel."""
SPREAD = (0.14, 0.7)
"""How far the marks of several labels stand apart at a place: from one label to the
next, and over all labels at most. A place is 1 wide.
"""


def band_places(axis: Axes, names: Sequence[str]) -> None:
    """Name the places; every other one is shaded, so that marks aside of it are its own."""
    axis.set_xticks(range(len(names)), names)
    axis.set_xlim(-0.5, len(names) - 0.5)
    axis.grid(visible=False, axis="x")
    for place in range(1, len(names), 2):
        axis.axvspan(place - 0.5, place + 0.5, color="0.955", linewidth=0, zorder=0)


def draw_lines(axis: Axes, rates: pd.DataFrame, styles: Styles, labels: Sequence[str]) -> None:
    """Draw a mark with its interval for each label at each `place`, and lines between.

    Labels stand beside each other. Lines join places whose `step` follows directly, so
    that none suggests a rate that was not measured.
    """
    apart = min(SPREAD[0], SPREAD[1] / len(labels))
    for i, label in enumerate(labels):
        own, style = rates[rates["label"] == label].dropna(subset=["rate"]).sort_values("place"), styles[label]
        if own.empty:
            continue  # an empty line has no extent, and the layout of all panels would fail
        across = own["place"].to_numpy(float) + apart * (i - (len(labels) - 1) / 2)
        values = own["rate"].to_numpy(float)
        axis.plot(*_unbroken(across, values, own["step"].to_numpy(float)), color=style.colour, linewidth=1, alpha=0.5)
        axis.errorbar(
            across,
            values,
            yerr=np.abs([own["rate"] - own["low"], own["high"] - own["rate"]]),
            color=style.colour,
            marker=style.marker,
            markerfacecolor=style.face,
            markersize=5,
            linestyle="none",
            elinewidth=1,
            capsize=0,
            clip_on=False,
            zorder=3,
        )


def _unbroken(places: Float64, values: Float64, steps: Float64) -> tuple[Float64, Float64]:
    """Return places and rates of a line, with NaN where a step between is missing."""
    gaps = np.flatnonzero(np.diff(steps) > 1) + 1
    return np.insert(places, gaps, np.nan), np.insert(values, gaps, np.nan)
