"""Figures of a report: drawn of its tables alone, so that they can be drawn again without records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NewType

import pandas as pd
from matplotlib.figure import Figure

from altbench.report.drawing.layout import drawing_fault
from altbench.report.style import styled


@dataclass(frozen=True)
class Undrawn:
    """A figure that cannot be drawn, and why; `unpublished`: for want of a table."""

    reason: str
    unpublished: bool = False


Figures = NewType("Figures", dict[str, Figure | Undrawn])
"""Figures by file stem; `drawn` alone makes them."""


class Unpublished(Exception):
    """A figure asks for a table that a published report lacks."""


class Tables(dict[str, pd.DataFrame]):
    """The data of a report's tables by file stem: all that its figures are drawn of.

    A report that was published holds the same tables, so that its figures can be drawn
    again without records.
    """

    def __missing__(self, stem: str) -> pd.DataFrame:
        """Raise Unpublished."""
        raise Unpublished(f"it is drawn of {stem}.csv, which is missing")


def drawn(**draw: Callable[[], Figure | None]) -> Figures:
    """Draw figures, each by the function under its file stem; return them by stem.

    Those that return None have nothing to show and are left out. A function that raises
    costs its own figure alone, and the report says why.
    """
    figures = {stem: _draw(one) for stem, one in draw.items()}
    return Figures({stem: figure for stem, figure in figures.items() if figure is not None})


def _draw(draw: Callable[[], Figure | None]) -> Figure | Undrawn | None:
    try:
        with styled():
            return draw()
    except Unpublished as error:
        return Undrawn(str(error), unpublished=True)
    except Exception as error:
        return Undrawn(drawing_fault(error))
