"""Comparison of two runs, episode by episode: is any cell significantly worse?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from altbench.core.errors import ResultsError
from altbench.report.table import Block
from altbench.results.frames import load_published
from altbench.results.unchecked import warn_of_unchecked
from altbench.stats.paired import PairedCounts, holm, mcnemar_exact, paired_counts, paired_difference_interval
from altbench.system.fingerprint import differences, load_fingerprint

SIGNIFICANT = 0.05
"""A Holm-corrected p below this is a difference: the usual level."""


@dataclass(frozen=True)
class CellComparison:
    """One cell that both runs have.

    `counts`: the base run is first, the new one second. `unpaired`: episodes without a
    partner, or with infra_error. `low`, `high`: 95 % interval of new rate − base rate.
    `p`: exact McNemar test. `p_holm`: the same, corrected over all cells.
    """

    name: str
    counts: PairedCounts
    unpaired: int
    low: float
    high: float
    p: float
    p_holm: float

    @property
    def changed(self) -> bool:
        """True if any episode ended differently."""
        return self.counts.only_first + self.counts.only_second > 0

    @property
    def worse(self) -> bool:
        """True if the new run succeeds significantly less often."""
        return self.p_holm < SIGNIFICANT and self.counts.difference < 0

    @property
    def better(self) -> bool:
        """True if the new run succeeds significantly more often."""
        return self.p_holm < SIGNIFICANT and self.counts.difference > 0


@dataclass(frozen=True)
class Comparison:
    """Two runs compared.

    `unpaired_cells`: cells in both runs, but without a common episode. `versions`: how
    the versions and machines that made the runs differ, a line each.
    """

    cells: tuple[CellComparison, ...]
    only_base: tuple[str, ...]
    only_new: tuple[str, ...]
    unpaired_cells: tuple[str, ...]
    versions: tuple[str, ...]

    @property
    def worse(self) -> bool:
        """True if any cell is significantly worse; CI then fails."""
        return any(cell.worse for cell in self.cells)


def compare(base: Path, new: Path) -> Comparison:
    """Pair the runs in two folders by cell name and episode seed.

    Raises ResultsError if they have no episode in common.
    """
    sides = {which: _by_name(folder) for which, folder in (("base", base), ("new", new))}
    for folder in (base, new):
        warn_of_unchecked(folder)
    common = [name for name in sides["base"] if name in sides["new"]]
    paired, apart = [], []
    for name in common:
        first, second = sides["base"][name], sides["new"][name]
        counts = paired_counts(first, second)
        if counts.total:
            paired.append((name, counts, len(first) + len(second) - 2 * counts.total))
        else:
            apart.append(name)
    if not paired:
        raise ResultsError(
            f"{base} and {new} have no episode in common (same cell name and seed); expected two runs of one sweep"
            f"{_examples(sides)}"
        )
    return Comparison(
        _corrected(paired),
        tuple(name for name in sides["base"] if name not in sides["new"]),
        tuple(name for name in sides["new"] if name not in sides["base"]),
        tuple(apart),
        _version_changes(base, new),
    )


def render(comparison: Comparison, allow_missing: bool = False) -> Group:
    """Return the comparison for the terminal.

    Changed cells are listed, all others are counted; the last lines say why continuous
    integration fails, if it does. `allow_missing`: a cell that only the base run has is
    not a failure.
    """
    changed = [cell for cell in comparison.cells if cell.changed]
    same = len(comparison.cells) - len(changed)
    parts: list[RichTable | Text] = [_cell_table(changed)] if changed else []
    if same:
        parts.append(Text(f"{_count(same, 'cell')} with the same outcome in every episode"))
    for names, what in (
        (comparison.only_base, "only in the base run"),
        (comparison.only_new, "only in the new run"),
        (comparison.unpaired_cells, "in both runs, but without a common episode"),
    ):
        if names:
            parts.append(Text(f"{_count(len(names), 'cell')} {what}: {_listing(names)}", "yellow"))
    unpaired = sum(cell.unpaired for cell in comparison.cells)
    if unpaired:
        parts.append(
            Text(f"{_count(unpaired, 'episode')} without a partner in the other run (or infra_error)", "yellow")
        )
    parts += [Text(f"made with {line}", "yellow") for line in comparison.versions]
    if comparison.only_base and not allow_missing:
        lacking = f"the new run lacks {_count(len(comparison.only_base), 'cell')} of the base run's"
        parts.append(Text(f"{lacking}; run them, or compare a part of a run with --allow-missing", "bold red"))
    return Group(*parts, _verdict(comparison))


def _by_name(folder: Path) -> dict[str, pd.DataFrame]:
    if not folder.is_dir():
        raise ResultsError(f"{folder}: no such folder; expected a run's folder, such as results/quick")
    frame = load_published(folder)
    if frame.empty:
        raise ResultsError(
            f"{folder}: holds no finished cell; expected a run's folder, with cells/ or episodes.parquet"
        )
    return {str(name): group for name, group in frame.groupby("name")}


def _corrected(paired: list[tuple[str, PairedCounts, int]]) -> tuple[CellComparison, ...]:
    p_values = [mcnemar_exact(counts.only_first, counts.only_second) for _, counts, _ in paired]
    return tuple(
        CellComparison(name, counts, unpaired, *paired_difference_interval(counts), p, corrected)
        for (name, counts, unpaired), p, corrected in zip(paired, p_values, holm(p_values), strict=True)
    )


def _version_changes(base: Path, new: Path) -> tuple[str, ...]:
    first, second = load_fingerprint(base), load_fingerprint(new)
    if first is None or second is None:
        missing = [str(folder) for folder, found in ((base, first), (new, second)) if found is None]
        return (f"unknown versions: no fingerprint.json in {' and '.join(missing)}",)
    return tuple(differences(first, second))


def _cell_table(cells: Iterable[CellComparison]) -> RichTable:
    ordered = sorted(cells, key=lambda c: (c.p_holm, c.p, c.name))
    header = ("cell", "both", "base", "new", "none", "new − base", "95 %", "p")
    block = Block("", header, tuple(_texts(cell) for cell in ordered), names=1)
    colours = ["bold red" if cell.worse else "bold green" if cell.better else "" for cell in ordered]
    note = "episodes that succeeded in both runs, base only, new only, neither; p: exact McNemar, Holm-corrected"
    return block.to_rich("Cells that changed, most significant first", note, colours)


def _texts(cell: CellComparison) -> tuple[str, ...]:
    counts = cell.counts
    numbers = (counts.both, counts.only_first, counts.only_second, counts.neither)
    interval = f"[{100 * cell.low:+.0f}, {100 * cell.high:+.0f}]"
    return (cell.name, *map(str, numbers), f"{100 * counts.difference:+.0f} %", interval, f"{cell.p_holm:.2g}")


def _verdict(comparison: Comparison) -> Text:
    worse = [cell.name for cell in comparison.cells if cell.worse]
    better = [cell.name for cell in comparison.cells if cell.better]
    if worse:
        return Text(f"worse (p < {SIGNIFICANT}, Holm-corrected): {', '.join(worse)}", "bold red")
    if better:
        return Text(f"no cell is significantly worse; better: {', '.join(better)}", "bold green")
    return Text(f"no cell is significantly different (p < {SIGNIFICANT}, exact McNemar, Holm-corrected)", "green")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _listing(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:6])
    return shown if len(names) <= 6 else f"{shown} and {len(names) - 6} more"


def _examples(sides: dict[str, dict[str, pd.DataFrame]]) -> str:
    return "".join(f"; {which} has {next(iter(cells))!r}" for which, cells in sides.items())
