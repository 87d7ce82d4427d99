"""A comparison for the terminal. No line is wider than the terminal, and no name is cut."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from altbench.report.compare import lines
from altbench.report.compare.gate import NO_REGRESSION, Gate, Verdict, fails, judge
from altbench.report.compare.records import Comparison, PairedResult

WIDTH = 80
"""Columns of a terminal of unknown width."""
MOST_LINES = 20
"""Lines of a list that are shown; JSON has all."""
_Line = tuple[str, str]
"""A line and its style."""


def to_text(comparison: Comparison, gate: Gate | None = None, width: int = WIDTH) -> str:
    """Return the comparison as plain text, `width` columns wide."""
    return "\n".join(line for line, _ in _all(comparison, gate or Gate(), width)) + "\n"


def to_rich(comparison: Comparison, gate: Gate | None = None, width: int = WIDTH) -> Text:
    """Return the same text with colours."""
    shown = Text()
    for line, style in _all(comparison, gate or Gate(), width):
        shown.append(line, style).append("\n")
    return shown


def _all(comparison: Comparison, gate: Gate, width: int) -> list[_Line]:
    counts = comparison.overall.counts
    pooled = [comparison.overall, *comparison.policies]
    if comparison.unbroken.changed:
        pooled.insert(1, comparison.unbroken)
    changed = lines.changed_cells(comparison)
    head = f"{counts.total:,} shared episodes in {len(comparison.cells)} cells"
    found = [(f"{head}: {counts.only_first} lost, {counts.only_second} gained", "bold"), ("", "")]
    found += [*_tests("Success", pooled, gate, width), ("", "")]
    if changed:
        found += [*_tests("Cells with other outcomes, worst first", changed, gate, width), ("", "")]
    same = len(comparison.cells) - len(changed)
    if same:
        found += _wrapped(f"{same} of {len(comparison.cells)} cells with the same outcome in every episode", width)
    found += _costs(comparison, width)
    for title, items in lines.groups(comparison):
        found += _list(title, items, width)
    found += [("", ""), *_wrapped(lines.TEST_NOTE, width, "dim"), ("", ""), *_wrapped(lines.unseen(comparison), width)]
    return [*found, ("", ""), *_verdict(judge(comparison, gate), width)]


def _tests(title: str, tests: Sequence[PairedResult], gate: Gate, width: int) -> list[_Line]:
    styles = ["bold red" if fails(t, gate) else "green" if t.better else "" for t in tests]
    names = [lines.plain(test.name) for test in tests]
    return [(title, "bold"), *_table(lines.TEST_HEAD, [lines.test_row(t) for t in tests], names, styles, width)]


def _costs(comparison: Comparison, width: int) -> list[_Line]:
    if not comparison.costs:
        return []
    title, head, names, rows = lines.costs(comparison)
    table = _table(head, rows, list(map(lines.plain, names)), [""] * len(rows), width)
    return [("", ""), *_wrapped(title, width, "bold"), *table, ("", "")]


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], names: Sequence[str], styles: Sequence[str], width: int
) -> list[_Line]:
    """Lay numbers out in columns, each row's name behind them.

    If a name does not fit there, every name has a line of its own above its numbers.
    """
    widths = [max(cell_len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    texts = [" ".join(text.rjust(w) for text, w in zip(row, widths, strict=True)) for row in (head, *rows)]
    if max(map(cell_len, names)) + cell_len(texts[0]) + 2 <= width:
        body = [(f"{text}  {name}", style) for text, name, style in zip(texts[1:], names, styles, strict=True)]
        return [(texts[0], "dim"), *body]
    found = [(f"  {texts[0]}", "dim")]
    for text, name, style in zip(texts[1:], names, styles, strict=True):
        found += [(name, style), (f"  {text}", style)]
    return found


def _list(title: str, items: Sequence[str], width: int) -> list[_Line]:
    found = _wrapped(title, width, "yellow")
    for item in items[:MOST_LINES]:
        found += _wrapped(item, width, indent="  ")
    hidden = len(items) - MOST_LINES
    return [*found, (f"  and {hidden} more (--format json lists all)", "")] if hidden > 0 else found


def _verdict(verdict: Verdict, width: int) -> list[_Line]:
    style = "bold" if verdict.status == NO_REGRESSION else "bold red"
    found = _wrapped(verdict.headline[:1].upper() + verdict.headline[1:], width, style)
    return found + _list("", verdict.reasons, width)[1:] if verdict.reasons else found


def _wrapped(text: str, width: int, style: str = "", indent: str = "") -> list[_Line]:
    # A name that is longer than a line stays whole: the terminal breaks it.
    wrapped = textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}  " if indent else "",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [(line, style) for line in wrapped or [""]]
