"""Numbers as reports show them: rates with intervals, tables from columns of text, words in a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from altbench.report.table import Block, Table, interval_text, percentage
from altbench.stats.rates import Rate


def rate_text(rate: Rate, counts: bool = True) -> str:
    """`36/40 90 % [77, 96]`, without counts `90 % [77, 96]`, with the range of training seeds where there are several.

    Empty without episodes.
    """
    if rate.value is None or rate.low is None or rate.high is None:
        return ""
    text = interval_text(rate.value, rate.low, rate.high)
    if rate.seeds:
        low, high = percentage(min(rate.seeds)), percentage(max(rate.seeds))
        text += f", seeds {low} to {high} %" if low != high else f", each seed {low} %"
    return f"{rate.successes}/{rate.episodes} {text}" if counts else text


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
