"""Texts of reports: templates with named blanks, percentages, tables from columns of
text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from altbench.experiments.shared.sweeps import N
from altbench.report.drawing.stars import STAR
from altbench.report.table import Block, Table, percentage, significant

UNCONVERGED_NOTE = (
    " *: a network that has not converged (training.json); its row is not ranked, and no row of its column is bold."
)
"""What the note of a table with a star says of it."""

UNCONVERGED_ROWS = " Networks that have not converged (training.json): {rows}."
"""What the note of a table without stars says of its rows."""


def percent(share: float) -> str:
    """Return a share as `95 %`."""
    return f"{percentage(share)} %"


def frame_table(
    title: str, data: pd.DataFrame, texts: Mapping[str, Sequence[str]], note: str = "", names: int = 1
) -> Table:
    """Make a table with `data` as its CSV and `texts` as what people read.

    `texts`: head of a column -> one text per row. `names`: how many columns name the
    row. The note is one line per paragraph, and explains the star of a rate whose network
    has not converged.
    """
    rows = tuple(zip(*texts.values(), strict=True))
    starred = any(text.endswith(STAR) for row in rows for text in row[names:])
    explained = flowing(note) + (UNCONVERGED_NOTE if starred else "")
    return Table(title, data, (Block(title, tuple(texts), rows, names=names),), explained)


def cost_text(costs: pd.DataFrame, label: str, column: str, scale: float = 1.0) -> str:
    """Return the text of a row's cost at `N`, of `measures_frame`; empty where it was not measured."""
    own = costs.loc[(costs["label"] == label) & (costs["n"] == N), column].dropna()
    return significant(float(own.iloc[0]) * scale) if len(own) else ""


def prose(text: str, **blanks: object) -> str:
    """Return `text` on one line per paragraph, with its named blanks filled.

    Texts of reports are constants, wrapped in the source so that they can be read
    there.
    """
    # Filled last, because a blank may hold lines of its own, such as a list.
    return flowing(text).format(**blanks)


def flowing(text: str) -> str:
    """Return `text` on one line per paragraph."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
