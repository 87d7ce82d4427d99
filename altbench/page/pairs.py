"""Section 4: two rows of the run, or two runs, on the same episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from altbench.page.conditions import Condition, Row
from altbench.page.records import RunRecords
from altbench.page.verdict import leaders, spoken_splits
from altbench.report.compare import Comparison, Gate, Verdict, compare, judge
from altbench.report.compare.lines import unseen
from altbench.report.compare.pairing import counted, outer_pairs
from altbench.report.compare.records import PairedResult
from altbench.results.collected import with_collected
from altbench.results.frames import load_published
from altbench.stats.clustering import initial_poses
from altbench.stats.paired import PairedCounts, change_effect, holm, paired_difference_interval, sign_flip_exact
from altbench.stats.rates import countable, succeeded

MOST_ROWS = 12
"""Of a task with more rows, only pairs with the best row are compared."""
MOST_FLIPS = 2000
"""How many flipped episodes of a pair are listed at most."""


@dataclass(frozen=True)
class PairLine:
    """The shared episodes of two rows in one condition; differences: second minus first.

    `p`: of the exact sign-flip test over initial poses, corrected after Holm over the
    pair's conditions.
    """

    first: Condition
    second: Condition
    counts: PairedCounts
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Flip:
    """An episode that ended differently: `won` is 0 (first) or 1 (second)."""

    first: str
    second: str
    episode: int
    won: int


@dataclass(frozen=True)
class Pair:
    """Two rows of a task, condition by condition, and the episodes that flipped."""

    first: Row
    second: Row
    lines: tuple[PairLine, ...]
    flips: tuple[Flip, ...]


@dataclass(frozen=True)
class RunPair:
    """Another run as the base, and this one as the new run, with the gate's verdict."""

    base: str
    comparison: Comparison
    verdict: Verdict
    unseen: str
    tests: tuple[PairedResult, ...]
    flips: tuple[Flip, ...]


@dataclass(frozen=True)
class PairSection:
    """The fourth section: all pairs of rows, the first to show, and another run."""

    pairs: tuple[Pair, ...]
    run: RunPair | None


def pairs(run: RunRecords, other: Path | None = None) -> PairSection:
    """Return the fourth section's contents; `other`: the folder of the run to compare with."""
    outcomes = Outcomes(run)
    chosen = [rows for task in run.tasks for rows in _chosen(run, task)]
    found = [pair for rows in chosen if (pair := compare_rows(run, outcomes, *rows)) is not None]
    return PairSection(tuple(found), None if other is None else compare_runs(other, run))


def _chosen(run: RunRecords, task: str) -> list[tuple[Row, Row]]:
    """Return the pairs of a task's rows, that of its two best rows first."""
    rows = [row for row in run.rows if row.task == task]
    best = _best_first(run, task)
    first = tuple(sorted(best[:2], key=lambda row: -best.index(row)))
    if len(rows) > MOST_ROWS:
        return [(best[0], row) for row in sorted(rows, key=lambda row: row is not best[-1]) if row is not best[0]]
    rest = [pair for pair in combinations(rows, 2) if set(pair) != set(first)]
    return [(first[0], first[1]), *rest] if len(first) == 2 else []


def _best_first(run: RunRecords, task: str) -> list[Row]:
    """Return the task's rows by success on the split that the verdict speaks of last."""
    rows = [row for row in run.rows if row.task == task]
    chosen = spoken_splits(run)
    if not chosen:
        return rows
    lead = [c.row for c in leaders(run, chosen[-1][0])]
    rate = {c.row.number: c.rate or 0.0 for c in run.conditions if c.clean and c.split == chosen[-1][0]}
    return sorted(rows, key=lambda row: (-rate.get(row.number, -1.0), row not in lead, row.number))


class Outcomes:
    """The outcomes of a run's episodes that count, by condition, as arrays.

    Pairs of rows are many, and frames would be joined for each of them.
    """

    def __init__(self, run: RunRecords) -> None:
        counted = countable(run.episodes)
        self._name, self._won = counted["name"].to_numpy(object), succeeded(counted).to_numpy(bool)
        self._pose, self._episode = initial_poses(counted).to_numpy(np.int64), counted["episode"].to_numpy(np.int64)
        keys = zip(counted["train_seed"].tolist(), counted["seed"].tolist(), counted["episode"].tolist(), strict=True)
        self._keys = list(keys)
        places: dict[str, list[int]] = {}
        for i, name in enumerate(self._name):
            places.setdefault(str(name), []).append(i)
        self._of = {
            one.number: {self._keys[i]: i for cell in one.cells for i in places.get(cell, ())} for one in run.conditions
        }

    def pair(self, first: Condition, second: Condition) -> tuple[PairLine, list[Flip]] | None:
        """Return a line of two conditions (p uncorrected) and the flips; None without pairs."""
        other = self._of[second.number]
        shared = [(i, other[key]) for key, i in self._of[first.number].items() if key in other]
        if not shared:
            return None
        left, right = np.array(shared).T
        a, b = self._won[left], self._won[right]
        counts = PairedCounts.of(a, b)
        _, places = np.unique(self._pose[left], return_inverse=True)
        change = b.astype(np.int64) - a.astype(np.int64)
        changes, sizes = np.bincount(places, change).astype(np.int64), np.bincount(places).astype(np.int64)
        effect = change_effect(int((change != 0).sum()), len(shared), changes, sizes)
        line = PairLine(
            first, second, counts, *paired_difference_interval(counts, effect=effect), sign_flip_exact(changes)
        )
        changed = [(i, j) for i, j in zip(left[change != 0], right[change != 0], strict=True)]
        return line, [self._flip(int(i), int(j)) for i, j in changed]

    def _flip(self, i: int, j: int) -> Flip:
        return Flip(str(self._name[i]), str(self._name[j]), int(self._episode[i]), int(self._won[j]))


def compare_rows(run: RunRecords, outcomes: Outcomes, first: Row, second: Row) -> Pair | None:
    """Compare two rows on the episodes that both played; None if they share none."""
    second_by = {(c.split, c.perturbation, c.severity): c for c in run.of(second)}
    both = [(one, second_by.get((one.split, one.perturbation, one.severity))) for one in run.of(first)]
    found = [pair for one, other in both if other and (pair := outcomes.pair(one, other))]
    if not found:
        return None
    corrected = holm([line.p for line, _ in found])
    lines = tuple(replace(line, p=p) for (line, _), p in zip(found, corrected, strict=True))
    return Pair(first, second, lines, tuple(flip for _, flips in found for flip in flips)[:MOST_FLIPS])


def compare_runs(base: Path, run: RunRecords) -> RunPair:
    """Compare another run, as the base, with this one, as `altbench compare` does.

    Raises ResultsError if they have no episode in common.
    """
    comparison = compare(base, run.root)
    joined = counted(outer_pairs(with_collected(load_published(base), base), run.episodes))
    flipped = joined[joined["change"] != 0]
    columns = zip(flipped["name"], flipped["episode"], flipped["won_new"], strict=True)
    flips = [Flip(str(name), str(name), int(episode), int(won)) for name, episode, won in columns]
    changed = sorted((c for c in comparison.cells if c.changed), key=lambda c: (c.p_worse, c.counts.difference, c.name))
    tests = (comparison.overall, comparison.unbroken, *comparison.policies, *changed)
    verdict = judge(comparison, Gate(allow_missing=True))
    return RunPair(_shown(base), comparison, verdict, unseen(comparison), tests, tuple(flips[:MOST_FLIPS]))


def _shown(folder: Path) -> str:
    path = folder.absolute()
    return f"results/{path.name}" if path.parent.name == "results" else path.name


def pair_numbers(found: Sequence[Pair], cells: dict[str, int]) -> list[list[object]]:
    """Return the pairs as plain lists for the page's script.

    A pair: numbers of both rows; lines (both conditions' numbers, shared, only first,
    only second, difference, its interval, p); flips (numbers of both cells, episode, won).
    """
    return [
        [
            pair.first.number,
            pair.second.number,
            [_line_numbers(line) for line in pair.lines],
            [[cells[flip.first], cells[flip.second], flip.episode, flip.won] for flip in pair.flips],
        ]
        for pair in found
    ]


def _line_numbers(line: PairLine) -> list[object]:
    counts = line.counts
    rounded = [round(value, 4) for value in (counts.difference, line.low, line.high)]
    both = [line.first.number, line.second.number]
    return [*both, counts.total, counts.only_first, counts.only_second, *rounded, float(f"{line.p:.2g}")]
