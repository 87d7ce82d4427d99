"""A figure's layout: panels, title, legend, footer; and how figures are written.

The title stands above, at the left; below it the legend in rows, then the panels. So a
legend is near what it explains, and takes no column of its own.
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import seaborn
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from altbench.core.types import UInt8
from altbench.report.drawing.order import labels_in_order
from altbench.report.drawing.stars import NO_STARS, Stars
from altbench.report.style import Panels, Styles, folded, styled
from altbench.system.console import debugging, one_line
from altbench.system.files import replacing
from altbench.system.fingerprint import Fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.artist import Artist

WIDEST = 9.2
"""Width in inches of the widest figures: a page of text shows them at their size."""
FOOTER_POINTS = 5.5
"""Size of the fingerprint's small print in points."""
PAD = 5.0
"""Points between the title, the legend, the panels and the edge."""
TITLE_CHARACTERS_PER_INCH = 12.5
"""How many characters of a figure's title fit in an inch of its width."""
MOST_POINTS = 400
"""Points of a scatter plot that an SVG holds one by one; more are drawn as pixels."""

Failures = tuple[tuple[str, str], ...]
"""The figures that could not be drawn: name and reason."""

_WITH_FOOTER: ContextVar[bool] = ContextVar("with_footer", default=True)


@contextmanager
def footers(shown: bool) -> Iterator[None]:
    """Draw figures with or without the line on what made them, within the block.

    Without it, for papers and slides, the files' metadata still hold the fingerprint.
    """
    token = _WITH_FOOTER.set(shown)
    try:
        yield
    finally:
        _WITH_FOOTER.reset(token)


def grid(rows: int, columns: int, width: float, height: float) -> tuple[Figure, Panels]:
    """Make a figure of `rows` × `columns` panels, sizes in inches, with shared axes."""
    figure = Figure(figsize=(min(WIDEST, max(4.6, width * columns + 0.8)), height * rows + 0.9), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    seaborn.despine(fig=figure)
    return figure, axes


def finish(figure: Figure, title: str, labels: Iterable[str], styles: Styles, stars: Stars = NO_STARS) -> None:
    """Add a title and a legend of the policies, whose labels are the rows of `stars`."""
    headline(figure, stars.under(title))
    legend(figure, policy_handles(labels, styles, stars))


def headline(figure: Figure, title: str) -> None:
    """Set the figure's title, on as many lines as its width needs."""
    lines = [textwrap.fill(line, int(figure.get_figwidth() * TITLE_CHARACTERS_PER_INCH)) for line in title.split("\n")]
    figure.suptitle("\n".join(lines), x=0.008, ha="left")


def policy_handles(labels: Iterable[str], styles: Styles, stars: Stars = NO_STARS) -> list[Line2D]:
    """Return the legend entries of policies, in the order of all figures."""
    return [
        Line2D(
            [],
            [],
            label=folded(stars.named(x, styles[x].name or x)),
            color=styles[x].colour,
            marker=styles[x].marker,
            markerfacecolor=styles[x].face,
            linestyle="-",
        )
        for x in labels_in_order(labels)
    ]


def legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """Add a legend in rows between the title and the panels, never over them."""
    for columns in range(len(handles), 0, -1):
        made = _legend(figure, handles, columns)
        if columns == 1 or made.get_window_extent().width < figure.bbox.width * 0.98:
            return
        made.remove()


def _legend(figure: Figure, handles: Sequence[Artist], columns: int) -> Legend:
    made = figure.legend(
        handles=handles,
        loc="upper left",
        ncols=columns,
        frameon=False,
        fontsize=8.5,
        borderpad=0.1,
        borderaxespad=0,
        columnspacing=1.3,
        handletextpad=0.5,
        handlelength=1.5,
    )
    made.set_in_layout(False)
    return made


def add_footer(figure: Figure, fingerprint: Fingerprint | None) -> None:
    """Lay the figure out, with the fingerprint in small print under the panels.

    None: without it.
    """
    width, height = figure.get_size_inches()
    lines: list[str] = []
    if fingerprint is not None:
        lines = textwrap.wrap(fingerprint.short(), int(width * 72 / (0.53 * FOOTER_POINTS)))
        low = 0.4 * FOOTER_POINTS / 72 / height
        figure.text(0.008, low, "\n".join(lines), fontsize=FOOTER_POINTS, color="0.4", va="bottom", in_layout=False)
    room = (len(lines) * 1.3 + 1) * FOOTER_POINTS / 72 / height if lines else 0.0
    figure.set_layout_engine(_Layout(room))


class _Layout(ConstrainedLayoutEngine):
    """Constrained layout of what lies between the head and the lowest `room`.

    The head is the title and the legends. Matplotlib's own layout would let a legend
    at the top cover the title, and puts the common x label into the footer.
    """

    def __init__(self, room: float) -> None:
        super().__init__()
        self._room = room

    def execute(self, fig: Figure) -> None:
        """Place everything; matplotlib calls this whenever the figure is drawn."""
        top = 1.0 - _head(fig)
        self.set(rect=(0, self._room, 1, top - self._room))
        super().execute(fig)
        left, right = (edge(getattr(axis.get_position(), side) for axis in fig.axes) for edge, side in _EDGES)
        for text in fig.texts:
            if text.get_text() and text.get_text() == fig.get_supxlabel():
                text.set_position(((left + right) / 2, text.get_position()[1] + self._room))


_EDGES = ((min, "x0"), (max, "x1"))


def _head(figure: Figure) -> float:
    """Place the title and the legends; return their height as a share of the figure's."""
    pad, used = PAD / 72 / figure.get_figheight(), 0.0
    for text in figure.texts:
        if figure.get_suptitle() and text.get_text() == figure.get_suptitle():
            text.set_in_layout(False)
            text.set_y(1 - pad)
            used = pad + text.get_window_extent().height / figure.bbox.height
    for one in figure.legends:
        used += pad
        one.set_bbox_to_anchor((0.008, 1 - used), transform=figure.transFigure)
        used += one.get_window_extent().height / figure.bbox.height
    return used + pad / 2 if used else 0.0


def save(figure: Figure, path: Path, about: str = "") -> Path:
    """Write the figure atomically, in the format of the suffix; return `path`.

    Dates and versions are left out, so that the same figure gives the same bytes.
    `about`: what the file's metadata say of its making.
    """
    kind = path.suffix[1:]
    metadata: dict[str, str | None] = {"Date": None} if kind == "svg" else {"Software": None}
    metadata |= {"Description": about} if about else {}
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # once a letter, into a run's progress
        # In an SVG only points that are drawn as pixels have a resolution.
        small = {"dpi": 110} if kind == "svg" else {"dpi": 150, "pil_kwargs": {"optimize": True}}
        figure.savefig(temporary, format=kind, metadata=metadata, **small)
    return path


def pixels_of(figure: Figure, dpi: float = 150) -> UInt8:
    """Return a figure as an image, uint8 (H, W, 3)."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(dpi)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def draw_all(
    figures: Iterable[tuple[str, Callable[[], Figure]]],
    folder: Path,
    fingerprint: Fingerprint,
    suffixes: Sequence[str] = ("png", "svg"),
) -> tuple[list[Path], Failures]:
    """Draw each figure into `folder` as <stem>.<suffix>; return the files and failures.

    `figures`: file stem and drawing function. A figure that cannot be drawn costs itself
    alone; the others are written. A full disk, and any other error of the system, raises.
    """
    paths: list[Path] = []
    failures: list[tuple[str, str]] = []
    for stem, draw in figures:
        files = [folder / f"{stem}.{suffix}" for suffix in suffixes]
        try:
            with styled():
                figure = draw()
                add_footer(figure, fingerprint if _WITH_FOOTER.get() else None)
                paths += [save(figure, file, fingerprint.one_line()) for file in files]
        except Exception as error:
            reason = drawing_fault(error)
            for file in files:
                file.unlink(missing_ok=True)  # an earlier picture would pass for this one
            failures.append((f"figure {stem}", reason))
    return paths, tuple(failures)


def drawing_fault(error: Exception) -> str:
    """Return in one line why a figure cannot be drawn, which costs that figure alone.

    Raise `error` again if it is the system's, such as a full disk, or if ALTBENCH_DEBUG
    asks for tracebacks.
    """
    if isinstance(error, OSError | MemoryError) or debugging():
        raise error
    return one_line(f"{type(error).__name__}: {error}")
