"""The style of figures: policies' colours and markers, and matplotlib's settings.

Nothing here uses pyplot or changes matplotlib's global state.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import matplotlib
import matplotlib.colors
import seaborn
from matplotlib.font_manager import fontManager
from matplotlib.ticker import FuncFormatter
from rich.cells import chop_cells

from altbench.report.drawing.order import base_of, known_styles
from altbench.report.privileged import MARK, is_privileged

COLOURS = ("#0072B2", "#56B4E9", "#E69F00", "#D55E00", "#009E73", "#7F7F7F", "#CC79A7", "#000000")
"""Colours for what is not a policy: Okabe and Ito's, with grey instead of yellow.

The colour-blind can tell them apart.
"""
OTHER_COLOURS = ("#C51B7D", "#6699CC", "#6B7A00", "#B79F00")
"""Colours for labels without a style in styles.toml.

Such labels are policies' variants and third parties' policies.
"""
SHADE = 0.5
"""How much of its policy's colour a variant's has; the rest is black."""
MARKERS = ("o", "s", "^", "D", "*", "h", "P", "X", "v", ">", "<")
"""Markers for labels without a style in styles.toml."""
FALLBACK_FONTS = ("Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "IPAGothic", "Noto Emoji", "Symbola")
"""Fonts for letters that the usual one lacks; a letter in none of them is drawn as a box."""
LABEL_LINE = 40
"""Columns of a label's line in a figure; a longer one goes on in the next line.

A wide letter, such as a Chinese one, takes two.
"""
_MOVED = re.compile(r"(.+)\+move(\d+)(?:by([\d.e-]+)|to-(.+))")
"""A split with an event: what `EventEntry.title` of `sweeps.spec` makes."""
Panels = Any  # rows of columns of Axes, which numpy cannot type
CONTROL = "expert"
"""The label of the audit's control. It has no policy, and sees the task's state."""


@dataclass(frozen=True)
class Style:
    """A policy's colour and marker, the same in every figure.

    `hollow`: the marker of a privileged row is not filled. `name`: what figures call the
    row; empty: its label.
    """

    colour: str
    marker: str
    hollow: bool = False
    name: str = ""

    @property
    def face(self) -> str:
        """The colour within the marker."""
        return "white" if self.hollow else self.colour


Styles = Mapping[str, Style]
PLAIN = Style("#5F5F5F", "o")
"""Style of a row that its name identifies and that has no style in styles.toml."""


def policy_styles(labels: Iterable[str], policies: Mapping[str, str] | None = None) -> Styles:
    """Return a colour, a marker and a name for each label.

    `policies`: the policy of a label, where it is known; those that see the task's state
    are hollow, and their names say so.

    A variant of a policy of styles.toml, such as `alt-hold`, has a shade of its colour
    and another marker. Any other label has one of the other styles, which its name
    chooses; if two choose the same one, the later in the alphabet takes the next.
    """
    # They depend on the labels alone and not on the registry: installing one more policy
    # must not recolour the figures of others.
    shown, fixed = sorted(set(labels)), _fixed_styles()
    taken = {fixed[label].marker for label in shown if label in fixed}
    found: dict[str, Style] = {}
    for label in shown:
        found[label] = fixed.get(label) or _free(label, set(found.values()), taken)
    return {label: _named(label, style, policies or {}) for label, style in found.items()}


def _free(label: str, used: set[Style], taken: set[str]) -> Style:
    """Return the first free style from the place that the label's digest chooses.

    One whose marker no built-in row of the figure has is preferred.
    """
    base = base_of(label)
    others = _paired(OTHER_COLOURS if base is None else (shade(known_styles()[base][0]),))
    start = int(hashlib.sha256(label.encode()).hexdigest(), 16) % len(others)
    turned = [*others[start:], *others[:start]]
    free = [style for style in turned if style not in used] or turned
    return next((style for style in free if style.marker not in taken), free[0])


def shade(colour: str) -> str:
    """Return the colour of variants of the policy that is drawn in `colour`."""
    return str(matplotlib.colors.to_hex([SHADE * part for part in matplotlib.colors.to_rgb(colour)]))


def _named(label: str, style: Style, policies: Mapping[str, str]) -> Style:
    """Return the style with the row's name, marked if it is privileged."""
    policy = policies.get(label, label)
    # A row of the audit that no policy plays has NaN in its place.
    hollow = is_privileged(policy) or (label == CONTROL and str(policy) in (CONTROL, "nan", "None", ""))
    return replace(style, hollow=hollow, name=f"{label}{MARK if hollow else ''}")


def styles_beside_names(labels: Iterable[str]) -> Styles:
    """Return a style for each label; `PLAIN` for one without a style of its own.

    For figures with a name beside each dot, which need not tell labels apart by colour.
    """
    fixed = _fixed_styles()
    return {label: _named(label, fixed.get(label, PLAIN), {}) for label in labels}


@cache
def _fixed_styles() -> Styles:
    return {label: Style(*pair) for label, pair in known_styles().items()}


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
    with matplotlib.rc_context({**seaborn.axes_style("whitegrid"), **own}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # once a letter, into a run's progress
        yield


@cache
def _fallback_fonts() -> tuple[str, ...]:
    """Return the installed fonts for letters that the usual font lacks."""
    installed = {font.name for font in fontManager.ttflist}
    return tuple(name for name in FALLBACK_FONTS if name in installed)


def words(name: str) -> str:
    """Return a name such as `gaussian_noise` as it is read: `gaussian noise`.

    `recall+move10by0.05`, a split with an event, is `recall, moved by 5 cm at step 10`.
    """
    moved = _MOVED.fullmatch(name)
    if moved is None:
        return name.replace("_", " ")
    split, step, by, to = moved.groups()
    where = f"by {100 * float(by):g} cm" if by else f"to a {to} pose"
    return f"{words(split)}, moved {where} at step {step}"


def folded(label: str) -> str:
    """Return a label in lines of at most `LABEL_LINE` columns, nothing left out."""
    return "\n".join(chop_cells(label, LABEL_LINE))


def per_cent() -> FuncFormatter:
    """Return the formatter of axes of rates: `50 %`, as tables write it."""
    return FuncFormatter(lambda value, _: f"{100 * value:.0f} %")


def signed(text: str) -> str:
    """Return a number's text with a true minus, as axes have it."""
    return text.replace("-", "\N{MINUS SIGN}")
