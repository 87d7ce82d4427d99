"""The leaderboard's tables: never two versions of a task, suite or protocol in one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd

from altbench.page.charts import Chart, Mark, log_axis, rate_axis
from altbench.report.splits import splits_in_order
from altbench.report.style import Styles, policy_styles
from altbench.report.table import percentage, significant
from altbench.rollout.records import MeasureRecord
from altbench.stats.clustering import SHOWN, start_of
from altbench.stats.rates import RANKED_FROM, Rate, ranked, success_rate
from altbench.submissions.entries import Entry, megabytes
from altbench.submissions.ranks import rank_intervals
from altbench.submissions.suite import SPLITS
from altbench.sweeps.spec import CLEAN


@dataclass(frozen=True)
class Line:
    """A row of a table: an entry with an N. `rank`: (best, worst); None: `why` says why not."""

    number: int
    entry: Entry
    n: int
    seeds: int
    style: int
    rate: Rate
    rank: tuple[int, int] | None
    why: str
    measure: MeasureRecord | None

    @property
    def shown_rank(self) -> str:
        """The rank as text: `1` or `1–3`."""
        if self.rank is None:
            return ""
        low, high = self.rank
        return str(low) if low == high else f"{low}–{high}"

    @property
    def p50_ms(self) -> float | None:
        """The median time of a decision (ms)."""
        return 1000 * self.measure.latency_p50_s if self.measure and self.measure.latency_p50_s else None

    @property
    def megabytes(self) -> float | None:
        """Weights and table (MB)."""
        return megabytes(self.measure)


@dataclass(frozen=True)
class RankTable:
    """The lines of one split; of one N and data set where episodes begin from demonstrations."""

    split: str
    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Section:
    """All tables of one task, at one version of task, suite, protocol and physics."""

    task: str
    version: str
    anchor: str
    tables: tuple[RankTable, ...]
    charts: tuple[Chart, ...]


@dataclass(frozen=True)
class Board:
    """The leaderboard. `labels`: in the order of their styles."""

    entries: tuple[Entry, ...]
    sections: tuple[Section, ...]
    labels: tuple[str, ...]
    styles: Styles


def make_board(entries: Sequence[Entry]) -> Board:
    """Return the leaderboard of `entries`, the same for the same archives in any order."""
    ordered = tuple(sorted(entries, key=lambda one: (one.manifest.label.lower(), one.file)))
    labels = tuple(sorted({one.manifest.label for one in ordered}))
    versions = sorted({(task, _version(one, task)) for one in ordered for task in one.manifest.tasks})
    sections, number = [], 0
    for place, (task, version) in enumerate(versions):
        own = [one for one in ordered if task in one.manifest.tasks and _version(one, task) == version]
        tables = []
        for split, title, rows in _tables(own, task):
            lines = _lines(rows, labels, number)
            number += len(lines)
            tables.append(RankTable(split, title, tuple(lines)))
        sections.append(Section(task, version, f"s{place}", tuple(tables), _charts(tables, task)))
    return Board(ordered, tuple(sections), labels, policy_styles(labels))


def _version(entry: Entry, task: str) -> str:
    manifest = entry.manifest
    physics = ", ".join(f"{name} {version}" for name, version in sorted(manifest.physics.items()))
    return f"version {manifest.tasks[task]}, suite {manifest.suite}, protocol {manifest.protocol}, {physics}"


_Row = tuple[Entry, int, pd.DataFrame]


def _tables(entries: Sequence[Entry], task: str) -> Iterable[tuple[str, str, list[_Row]]]:
    """Yield split, title and rows of each table of a task, in the order of the splits."""
    frames = [one.episodes for one in entries]
    clean = [
        f[(f["task"] == task) & (f["perturbation"] == CLEAN) & ~f["split"].str.contains("+", regex=False)]
        for f in frames
    ]
    found: dict[tuple[str, str], list[_Row]] = {}
    for entry, frame in zip(entries, clean, strict=True):
        for key, group in frame.groupby(["split", "n"]):
            split, n = cast("tuple[Any, Any]", key)
            found.setdefault((str(split), _shown(entry, task, str(split), int(n))), []).append((entry, int(n), group))
    both = pd.concat([frame[["task", "split"]] for frame in clean]).drop_duplicates()
    order = {split: i for i, split in enumerate(splits_in_order(both))}
    for (split, shown), rows in sorted(found.items(), key=lambda one: (order[one[0][0]], one[0][1])):
        yield split, split + shown, rows


def _shown(entry: Entry, task: str, split: str, n: int) -> str:
    """Return which demonstrations episodes begin from, for a title; empty if from none."""
    if start_of(split) not in SHOWN:
        return ""
    one = next((one for one in entry.shown if (one.task, one.n) == (task, n)), None)
    data = "" if one is None else f", data seed {one.root_seed}" if not one.expert else f", data {one.checksum[:8]}"
    return f", N = {n}{data}"


def _lines(rows: Sequence[_Row], labels: Sequence[str], first: int) -> list[Line]:
    """Return a table's lines: the ranked first, by rank and rate; then the others by name."""
    why = [_unranked(entry, frame) for entry, _, frame in rows]
    able = [i for i, reason in enumerate(why) if not reason]
    ranks = dict(zip(able, rank_intervals([rows[i][2] for i in able]), strict=True))
    rates = [success_rate(frame) for _, _, frame in rows]

    def place(i: int) -> tuple[object, ...]:
        entry, n, _ = rows[i]
        return i not in ranks, ranks.get(i, (0, 0)), -(rates[i].value or 0.0), entry.manifest.label, entry.file, n

    ordered = sorted(range(len(rows)), key=place)
    return [
        Line(
            first + number,
            rows[i][0],
            rows[i][1],
            rows[i][2]["train_seed"].nunique(),
            labels.index(rows[i][0].manifest.label),
            rates[i],
            ranks.get(i),
            why[i],
            rows[i][0].measure(str(rows[i][2]["task"].iloc[0]), rows[i][1]),
        )
        for number, i in enumerate(ordered)
    ]


def _unranked(entry: Entry, frame: pd.DataFrame) -> str:
    """Return why a row is not ranked; empty: it is."""
    if not entry.is_verified:
        return entry.standing
    return "" if ranked(frame) else f"fewer than {RANKED_FROM} episodes"


def _charts(tables: Sequence[RankTable], task: str) -> tuple[Chart, ...]:
    """Return the charts of success against time and memory, on the split farthest from the demonstrations."""
    own = [table for table in tables if table.split == SPLITS[-1]]
    lines = [line for table in own for line in table.lines if line.rate.value is not None and line.entry.is_verified]
    times = [(line, value) for line in lines if (value := line.p50_ms)]
    sizes = [(line, value) for line in lines if (value := line.megabytes)]
    title, found = f"{task}: success on {SPLITS[-1]}", []
    for what, shown in (("time of a decision, ms", times), ("memory, MB", sizes)):
        if shown:
            found.append(_chart(title, what, shown))
    return tuple(found)


def _chart(title: str, what: str, shown: Sequence[tuple[Line, float]]) -> Chart:
    chart = Chart(title, what, "success")
    x, y = log_axis(chart, [value for _, value in shown]), rate_axis(chart)
    for line, value in shown:
        rate = line.rate
        if rate.value is None or rate.low is None or rate.high is None:
            continue
        chart.whisker(x(value), y(rate.low), y(rate.high), line.style)
        text = (
            f"{line.entry.title}, N = {line.n}: {percentage(rate.value)} %, {significant(value)} {what.split(', ')[1]}"
        )
        chart.marks.append(Mark(x(value), y(rate.value), line.style, text, line.number))
    return chart
