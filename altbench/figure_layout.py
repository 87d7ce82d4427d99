"""How figures look: one style, a colour and marker per policy, panels, legend, fingerprint footer, and saving.

Nothing here uses pyplot or leaves a trace in matplotlib's global state.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import seaborn
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from altbench.atomic import replacing
from altbench.fingerprint import Fingerprint

COLOURS = ("#0072B2", "#56B4E9", "#E69F00", "#D55E00", "#009E73", "#7F7F7F", "#CC79A7", "#000000")
"""Okabe and Ito's, which the colour-blind can tell apart, with grey for yellow."""
MARKERS = ("o", "s", "^", "D", "v", "X", "P", "*")
FOOTER_POINTS = 5.5
Panels = Any  # rows of columns of Axes, which numpy cannot type


@dataclass(frozen=True)
class Look:
    """How a policy is drawn, the same in every figure of a run."""

    colour: str
    marker: str


Style = Mapping[str, Look]


def looks(labels: Iterable[str]) -> Style:
    """A colour and a marker for each label, by alphabetical order; markers tell apart what colours repeat."""
    return {
        label: Look(COLOURS[i % len(COLOURS)], MARKERS[(i + i // len(COLOURS)) % len(MARKERS)])
        for i, label in enumerate(sorted(set(labels)))
    }


@contextmanager
def styled() -> Iterator[None]:
    """Seaborn's style within the block only; SVG ids that do not change from run to run."""
    own = {"svg.hashsalt": "altbench", "font.size": 9, "axes.titlesize": 9, "axes.labelsize": 8.5, "figure.dpi": 150}
    own |= {"xtick.labelsize": 8, "ytick.labelsize": 8, "figure.titlesize": 10.5, "grid.linewidth": 0.6}
    with matplotlib.rc_context({**seaborn.axes_style("whitegrid"), **own}):
        yield


TITLE_CHARACTERS_PER_INCH = 12


def grid(rows: int, columns: int, width: float, height: float) -> tuple[Figure, Panels]:
    """A figure of `rows` × `columns` panels of the given size in inches, with shared axes."""
    figure = Figure(figsize=(max(5.2, width * columns + 1.4), height * rows + 0.7), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    seaborn.despine(fig=figure)
    return figure, axes


def finish(figure: Figure, title: str, labels: Sequence[str], style: Style) -> None:
    """Title, and a legend of the policies."""
    headline(figure, title)
    legend(figure, policy_handles(labels, style))


def headline(figure: Figure, title: str) -> None:
    """The figure's title, on as many lines as its width needs."""
    figure.suptitle(textwrap.fill(title, int(figure.get_figwidth() * TITLE_CHARACTERS_PER_INCH)))


def policy_handles(labels: Sequence[str], style: Style) -> list[Line2D]:
    """Legend entries of policies."""
    return [Line2D([], [], label=x, color=style[x].colour, marker=style[x].marker) for x in labels]


def legend(figure: Figure, handles: list[Line2D]) -> None:
    """A legend beside the panels, never over them."""
    figure.legend(handles=handles, loc="outside right center", frameon=False, fontsize=8.5)


def add_footer(figure: Figure, fingerprint: Fingerprint) -> None:
    """The fingerprint in small print under the panels, which make room for it."""
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(fingerprint.one_line(), int(width * 72 / (0.53 * FOOTER_POINTS)))
    room = (len(lines) * 1.3 + 1) * FOOTER_POINTS / 72 / height
    figure.set_layout_engine("constrained", rect=(0, room, 1, 1 - room))
    figure.text(
        0.008, 0.4 * FOOTER_POINTS / 72 / height, "\n".join(lines), fontsize=FOOTER_POINTS, color="0.4", va="bottom"
    )


def save(figure: Figure, path: Path) -> Path:
    """Write the figure atomically, in the format that the suffix names, without dates."""
    kind = path.suffix[1:]
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with replacing(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=150, metadata=metadata)
    return path


def words(name: str) -> str:
    """`gaussian_noise` as it is read."""
    return name.replace("_", " ")
