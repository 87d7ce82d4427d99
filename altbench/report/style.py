"""The style of figures: policies' colours and markers, panels, legend, footer, saving.

Nothing here uses pyplot or changes matplotlib's global state.
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.colors
import seaborn
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from rich.cells import chop_cells

from altbench.core.spec import read_toml
from altbench.system.console import debugging, one_line
from altbench.system.files import replacing
from altbench.system.fingerprint import Fingerprint

COLOURS = ("#0072B2", "#56B4E9", "#E69F00", "#D55E00", "#009E73", "#7F7F7F", "#CC79A7", "#000000")
"""Colours for what is not a policy: Okabe and Ito's, with grey instead of yellow.

The colour-blind can tell them apart.
"""
OTHER_COLOURS = ("#C51B7D", "#6699CC", "#1B7837", "#B79F00")
"""Colours for labels without a style in `STYLES`.

Such labels are policies' variants and third parties' policies.
"""
MARKERS = ("o", "s", "^", "D", "*", "h", "P", "X", "v", ">", "<")
"""Markers for labels without a style in `STYLES`."""
STYLES = Path(__file__).with_name("styles.toml")
"""The built-in policies' styles: a file, because code here names no policy."""
FOOTER_POINTS = 5.5
"""Size of the fingerprint's small print in points."""
FALLBACK_FONTS = ("Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "IPAGothic", "Noto Emoji", "Symbola")
"""Fonts for letters that the usual one lacks; a letter in none of them is drawn as a box."""
LABEL_LINE = 40
"""Columns of a label's line in a figure; a longer one goes on in the next line.

A wide letter, such as a Chinese one, takes two.
"""
Panels = Any  # rows of columns of Axes, which numpy cannot type


Failures = tuple[tuple[str, str], ...]
"""The figures that could not be drawn: name and reason."""


@dataclass(frozen=True)
class Style:
    """A policy's colour and marker, the same in every figure."""

    colour: str
    marker: str


Styles = Mapping[str, Style]
PLAIN = Style("#5F5F5F", "o")
"""Style of a row that its name identifies and that has no style in `STYLES`."""


def policy_styles(labels: Iterable[str]) -> Styles:
    """Return a colour and a marker for each label.

    A label without a style of its own in `STYLES` has one of the others, which are
    given out in alphabetical order.
    """
    shown, fixed = set(labels), _fixed_styles()
    # They depend on the labels alone and not on the registry: installing one more policy
    # must not recolour the figures of others.
    markers = {style.marker for label, style in fixed.items() if label in shown}
    others = cycle(sorted(_paired(OTHER_COLOURS), key=lambda style: style.marker in markers))
    return {label: fixed[label] if label in fixed else next(others) for label in sorted(shown)}


def styles_beside_names(labels: Iterable[str]) -> Styles:
    """Return a style for each label; `PLAIN` for one without a style of its own.

    For figures with a name beside each dot, which need not tell labels apart by colour.
    """
    fixed = _fixed_styles()
    return {label: fixed.get(label, PLAIN) for label in labels}


@cache
def _fixed_styles() -> Styles:
    return {label: Style(*pair) for label, pair in read_toml(STYLES).items()}


def _paired(colours: Sequence[str]) -> list[Style]:
    """Return every colour with every marker; neither repeats among the first."""
    rounds = range(len(MARKERS))
    return [Style(c, MARKERS[(i + k) % len(MARKERS)]) for k in rounds for i, c in enumerate(colours)]


def ink(colour: str) -> str:
    """Return black or white, whichever is easier to read on `colour`.

    By the relative luminance of WCAG 2.1.
    """
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in matplotlib.colors.to_rgb(colour)]
    luminance = sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "black" if luminance > 0.179 else "white"


@contextmanager
def styled() -> Iterator[None]:
    """Set seaborn's style within the block only, and SVG ids that do not vary."""
    own = {"svg.hashsalt": "altbench", "font.size": 9, "axes.titlesize": 9, "axes.labelsize": 8.5, "figure.dpi": 150}
    own |= {"xtick.labelsize": 8, "ytick.labelsize": 8, "figure.titlesize": 10.5, "grid.linewidth": 0.6}
    # Labels are users' text: "$x$" is not a formula, and "$x{" would raise.
    own |= {"text.parse_math": False, "text.usetex": False, "font.family": ["sans-serif", *_fallback_fonts()]}
    with matplotlib.rc_context({**seaborn.axes_style("whitegrid"), **own}):
        yield


@cache
def _fallback_fonts() -> tuple[str, ...]:
    """Return the installed fonts for letters that the usual font lacks."""
    installed = {font.name for font in fontManager.ttflist}
    return tuple(name for name in FALLBACK_FONTS if name in installed)


TITLE_CHARACTERS_PER_INCH = 12
"""How many characters of a figure's title fit in an inch of its width."""


def grid(rows: int, columns: int, width: float, height: float) -> tuple[Figure, Panels]:
    """Make a figure of `rows` × `columns` panels, sizes in inches, with shared axes."""
    figure = Figure(figsize=(max(5.2, width * columns + 1.4), height * rows + 0.7), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    seaborn.despine(fig=figure)
    return figure, axes


def finish(figure: Figure, title: str, labels: Sequence[str], styles: Styles) -> None:
    """Add a title and a legend of the policies."""
    headline(figure, title)
    legend(figure, policy_handles(labels, styles))


def headline(figure: Figure, title: str) -> None:
    """Set the figure's title, on as many lines as its width needs."""
    figure.suptitle(textwrap.fill(title, int(figure.get_figwidth() * TITLE_CHARACTERS_PER_INCH)))


def policy_handles(labels: Sequence[str], styles: Styles) -> list[Line2D]:
    """Return the legend entries of policies."""
    return [Line2D([], [], label=folded(x), color=styles[x].colour, marker=styles[x].marker) for x in labels]


def folded(label: str) -> str:
    """Return a label in lines of at most `LABEL_LINE` columns, nothing left out."""
    return "\n".join(chop_cells(label, LABEL_LINE))


def legend(figure: Figure, handles: list[Line2D]) -> None:
    """Add a legend beside the panels, never over them."""
    figure.legend(handles=handles, loc="outside right center", frameon=False, fontsize=8.5)


def add_footer(figure: Figure, fingerprint: Fingerprint) -> None:
    """Add the fingerprint in small print under the panels, which make room for it."""
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(fingerprint.one_line(), int(width * 72 / (0.53 * FOOTER_POINTS)))
    room = (len(lines) * 1.3 + 1) * FOOTER_POINTS / 72 / height
    figure.set_layout_engine(_AboveFooter(room))
    figure.text(
        0.008, 0.4 * FOOTER_POINTS / 72 / height, "\n".join(lines), fontsize=FOOTER_POINTS, color="0.4", va="bottom"
    )


class _AboveFooter(ConstrainedLayoutEngine):
    """Constrained layout of all but the lowest `room`, a fraction of the height.

    Matplotlib's own layout keeps panels out of the room, but puts legends and the
    common x label at the figure's lower edge.
    """

    def __init__(self, room: float) -> None:
        super().__init__(rect=(0, room, 1, 1 - room))
        self._room = room

    def execute(self, fig: Figure) -> None:
        """Place everything; matplotlib calls this whenever the figure is drawn."""
        for outside in fig.legends:
            outside.set_bbox_to_anchor(None)  # an anchored legend would get no space
        super().execute(fig)
        for outside in fig.legends:
            outside.set_bbox_to_anchor((0, self._room, 1, 1 - self._room), transform=fig.transFigure)
        left, right = (edge(getattr(axis.get_position(), side) for axis in fig.axes) for edge, side in _EDGES)
        for text in fig.texts:
            if text.get_text() == fig.get_supxlabel():
                text.set_position(((left + right) / 2, text.get_position()[1] + self._room))


_EDGES = ((min, "x0"), (max, "x1"))


def save(figure: Figure, path: Path) -> Path:
    """Write the figure atomically, in the format of the suffix; return `path`.

    Dates and versions are left out, so that the same figure gives the same bytes.
    """
    kind = path.suffix[1:]
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # once a letter, into a run's progress
        figure.savefig(temporary, format=kind, dpi=150, metadata=metadata)
    return path


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
                add_footer(figure, fingerprint)
                paths += [save(figure, file) for file in files]
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


def words(name: str) -> str:
    """Return a name such as `gaussian_noise` as it is read: `gaussian noise`."""
    return name.replace("_", " ")
