"""Texts of reports: templates with named blanks, percentages, tables from columns of text, words in a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from altbench.report.table import Block, Table, percentage


def percent(share: float) -> str:
    """`95 %`."""
    return f"{percentage(share)} %"


def frame_table(
    title: str, data: pd.DataFrame, texts: Mapping[str, Sequence[str]], note: str = "", names: int = 1
) -> Table:
    """A table with `data` as its CSV and the columns of `texts` (head -> one text per row) as what is read."""
    rows = tuple(zip(*texts.values(), strict=True))
    return Table(title, data, (Block(title, tuple(texts), rows, names=names),), note)


def prose(text: str, **blanks: object) -> str:
    """Return `text` on one line per paragraph, with its named blanks filled.

    Texts of reports are constants that are wrapped in the source. Blanks are filled last, so that their line breaks stay.
    """
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    return "\n\n".join(paragraphs).format(**blanks)


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
