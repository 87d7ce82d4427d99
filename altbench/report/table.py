"""The `Table` type, and how it is written as CSV, Markdown and LaTeX.

The CSV is tidy: one row per number, plain values, units in the column names. The same
records give the same bytes. Its title, note and fingerprint are in <stem>.json beside
it, so that any CSV reader can read it. Markdown and LaTeX hold the wide blocks for
people.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from rich.text import Text
from tabulate import tabulate

from altbench.report.drawing.order import row_place
from altbench.stats.rates import Rate
from altbench.system.console import FittingTable, plain
from altbench.system.files import replacing
from altbench.system.fingerprint import Fingerprint

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "×": r"$\times$",
        "–": "--",
        "·": r"$\cdot$",
        "<": "$<$",
        ">": "$>$",
        "…": r"\ldots{}",
    }
)
"""Characters that LaTeX cannot print as they are -> what prints them.

tabulate's `latex_booktabs` is no substitute. It escapes the \\textbf of a best cell,
too, prints neither × nor ·, and does not reach captions and fingerprints.
"""


_MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\|[]<>*`$"})
"""Characters of a name that Markdown would read as a link, a formula or emphasis."""


@dataclass(frozen=True)
class Block:
    """A rectangle of text.

    `best`: the (row, column) of emphasised texts. The first `names` columns are
    left-aligned.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: frozenset[tuple[int, int]] = frozenset()
    names: int = 2

    def to_rich(self, title: str, note: str = "", colours: Sequence[str] = ()) -> FittingTable:
        """Return the block for a terminal, `best` in bold, with a title and a note.

        `colours`: a style of rich for each row. Markup in texts is printed as it is.
        """
        shown = FittingTable(self.header, title, note, names=self.names, numbers=True)
        for i, row in enumerate(self.rows):
            texts = [Text(plain(text), "bold" if (i, j) in self.best else "") for j, text in enumerate(row)]
            shown.add(*texts, style=colours[i] if colours else None)
        return shown


@dataclass(frozen=True)
class Table:
    """A table: `data` for the CSV, `blocks` for readers, `note` on how to read them."""

    title: str
    data: pd.DataFrame
    blocks: tuple[Block, ...]
    note: str = field(default="")


def pivot(
    caption: str,
    names: Mapping[str, Sequence[Any]],
    columns: Sequence[str],
    texts: Sequence[str],
    best: Sequence[bool] | None = None,
) -> Block:
    """Return items as a block, each with its text where its row and column meet.

    All sequences run over the same items. Rows are the distinct combinations of
    `names`, tasks and policies in the order of all tables and figures. Columns are the
    distinct values of `columns`, in the order of their first items.
    """
    keys: list[tuple[Any, ...]] = list(zip(*names.values(), strict=True))
    rows = sorted(set(keys), key=lambda key: tuple(map(row_place, key)))
    heads = list(dict.fromkeys(columns))
    found = {(key, column): text for key, column, text in zip(keys, columns, texts, strict=True)}
    marked = {
        (key, column) for key, column, mark in zip(keys, columns, best or [False] * len(keys), strict=True) if mark
    }
    return Block(
        caption,
        (*names, *heads),
        tuple((*map(str, row), *(found.get((row, head), "") for head in heads)) for row in rows),
        frozenset(
            (i, len(names) + j) for i, row in enumerate(rows) for j, head in enumerate(heads) if (row, head) in marked
        ),
        len(names),
    )


def significant(value: float | None, digits: int = 3) -> str:
    """Return `value` with so many significant digits, no exponent; empty if missing."""
    if value is None or math.isnan(value):
        return ""
    decimals = digits - 1 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(0, decimals)}f}"


def percentage(share: float) -> str:
    """Return `share` in whole per cent, without the sign.

    Only 1 is 100 and only 0 is 0: 199 of 200 is 99.5, because 100 would mean all of
    them.
    """
    rounded = f"{100 * share:.0f}"
    if rounded == "100" and share < 1:
        short = 100 * (1 - share)
        return f"{100 - short:.{-math.floor(math.log10(short))}f}"
    return significant(100 * share, 1) if rounded == "0" and share > 0 else rounded


def interval_text(rate: float, low: float, high: float) -> str:
    """Return a rate with its interval, as tables show it: `90 % [77, 96]`."""
    return f"{percentage(rate)} % [{100 * low:.0f}, {100 * high:.0f}]"


def rate_text(rate: Rate, counts: bool = True) -> str:
    """Return `36/40 90 % [77, 96]`, without counts `90 % [77, 96]`; empty without episodes.

    Without an interval if it is not known. The range of training seeds follows, if there
    are several, and how many episodes are missing.
    """
    lacks = f"{rate.missing} missing" if rate.missing else ""
    if rate.value is None:
        return lacks
    text = f"{percentage(rate.value)} %"
    if rate.low is not None and rate.high is not None:
        text = interval_text(rate.value, rate.low, rate.high)
    if rate.seeds:
        low, high = percentage(min(rate.seeds)), percentage(max(rate.seeds))
        text += f", seeds {low} to {high} %" if low != high else f", each seed {low} %"
    text = f"{text}, {lacks}" if lacks else text
    return f"{rate.successes}/{rate.episodes} {text}" if counts else text


def rate_of_text(text: object) -> tuple[float, float, float] | tuple[None, None, None]:
    """Return rate, low and high of what `rate_text` wrote; three times None if it has none."""
    found = re.search(r"(\d+)/(\d+) .*?\[(\d+), (\d+)\]", str(text))
    if found is None:
        return None, None, None
    successes, episodes, low, high = map(int, found.groups())
    return successes / episodes, low / 100, high / 100


def to_csv(table: Table) -> str:
    """Return the tidy CSV, with six significant digits; missing values are empty."""
    text: str = table.data.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    return text


def to_markdown(table: Table, fingerprint: Fingerprint) -> str:
    """Return title, blocks as pipe tables (best in bold), note and fingerprint."""
    parts = [f"# {table.title}"]
    for block in table.blocks:
        parts += [f"## {block.caption}", pipe_table(block, literal=True)]
    parts += [part for part in (table.note, f"<sub>{fingerprint.one_line()}</sub>") if part]
    return "\n\n".join(parts) + "\n"


def pipe_table(block: Block, literal: bool = False) -> str:
    """Return a block as a pipe table of Markdown, best in bold, without its caption.

    `literal`: names are users' labels, so that nothing in them is Markdown.
    """
    rows = _formatted(block, lambda text: text.replace("|", r"\|"), lambda text: f"**{text}**")
    if literal:
        for row, texts in zip(rows, block.rows, strict=True):
            row[: block.names] = [text.translate(_MARKDOWN) for text in texts[: block.names]]
    align = ["left" if i < block.names else "right" for i in range(len(block.header))]
    text: str = tabulate(
        rows, headers=block.header, tablefmt="pipe", colalign=align if rows else None, disable_numparse=True
    )
    return text


def to_latex(table: Table, fingerprint: Fingerprint) -> str:
    """Return one booktabs `table` per block, best in bold.

    The document needs \\usepackage{booktabs}.
    """
    parts = [f"% {table.title}. Needs \\usepackage{{booktabs}}.\n% {fingerprint.one_line()}"]
    parts += [_latex_block(table, block, fingerprint) for block in table.blocks]
    return "\n\n".join(parts) + "\n"


def write_table(table: Table, folder: Path, stem: str, fingerprint: Fingerprint) -> list[Path]:
    """Write `stem`.csv, .md, .tex and .json into `folder`, each atomically.

    The .json holds title, note and fingerprint. Return the files.
    """
    about = {"title": table.title, "note": table.note, "fingerprint": fingerprint.as_dict()}
    texts = {
        "csv": to_csv(table),
        "md": to_markdown(table, fingerprint),
        "tex": to_latex(table, fingerprint),
        "json": json.dumps(about, indent=1, ensure_ascii=False) + "\n",
    }
    paths = []
    for suffix, text in texts.items():
        paths.append(folder / f"{stem}.{suffix}")
        with replacing(paths[-1]) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    return paths


def _formatted(block: Block, escape: Callable[[str], str], bold: Callable[[str], str]) -> list[list[str]]:
    return [
        [bold(escape(text)) if (i, j) in block.best else escape(text) for j, text in enumerate(row)]
        for i, row in enumerate(block.rows)
    ]


def _latex_block(table: Table, block: Block, fingerprint: Fingerprint) -> str:
    rows = _formatted(block, _latex_escape, lambda text: rf"\textbf{{{text}}}")
    lines = [" & ".join(row) + r" \\" for row in rows]
    columns = "l" * block.names + "r" * (len(block.header) - block.names)
    return "\n".join(
        [
            r"\begin{table}[tbp]",
            r"\centering\small",
            rf"\caption{{{_latex_escape(f'{table.title}: {block.caption}. {table.note}'.strip())}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(map(_latex_escape, block.header)) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            rf"\par\smallskip{{\tiny {_latex_escape(fingerprint.one_line())}\par}}",
            r"\end{table}",
        ]
    )


def _latex_escape(text: str) -> str:
    return text.translate(_LATEX)
