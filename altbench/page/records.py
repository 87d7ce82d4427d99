"""What the page of a run is made of: its records, read once from its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from altbench.core import registry
from altbench.core.errors import AltbenchError, ResultsError
from altbench.core.task import TaskInfo
from altbench.report.caveats import caveats
from altbench.report.drawing.order import labels_in_order, tasks_in_order
from altbench.report.drawing.stars import Shown, Stars, stars_of, unconverged_rows
from altbench.report.figures import run_styles
from altbench.report.flags import ood_table
from altbench.report.privileged import marked
from altbench.report.splits import splits_in_order
from altbench.report.style import Styles
from altbench.report.success import CONDITION, ROW, success_table
from altbench.results.collected import COLUMN as COLLECTED
from altbench.results.frames import load_parts
from altbench.results.measures import load_measures
from altbench.results.unchecked import warn_of_unchecked
from altbench.rollout.records import CellHeader, MeasureRecord
from altbench.stats.parts import EpisodeParts, Episodes, parts_of, parts_of_run
from altbench.sweeps.kept import load_kept
from altbench.sweeps.plan import make_plan
from altbench.sweeps.rows import provenance_of
from altbench.sweeps.spec import CLEAN, SweepSpec
from altbench.system.files import file_name
from altbench.system.fingerprint import Fingerprint, load_fingerprint

T = TypeVar("T")
MOST_LOADED = 200_000
"""Of a run with more episodes, the page holds those of a sample of cells."""


@dataclass(frozen=True)
class Row:
    """A row of the main table: a policy with a preset, on a task, at an N.

    `number`: its place. `style`: the number of its label, which has one look.
    """

    number: int
    task: str
    label: str
    policy: str
    preset: str
    n: int
    style: int

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """The values of the columns `success.ROW`."""
        return self.task, self.label, self.policy, self.preset, self.n

    @property
    def name(self) -> str:
        """The label as tables show it."""
        return marked(self.label, self.policy)

    @property
    def title(self) -> str:
        """The label and N; nothing else tells rows of one task apart."""
        return f"{self.name}, N = {self.n}"


@dataclass(frozen=True)
class Condition:
    """The episodes of a row on a split under a perturbation: a number of the page.

    `low`, `high`: the 95 % interval of `rate`; all three are None without episodes.
    `best`: None if the row is not ranked. `cells`: the names of its cells, one for each
    training seed.
    """

    number: int
    row: Row
    split: str
    perturbation: str
    severity: int
    successes: int
    episodes: int
    rate: float | None
    low: float | None
    high: float | None
    missing: int
    best: bool | None
    cells: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing is perturbed."""
        return self.perturbation == CLEAN

    @property
    def title(self) -> str:
        """The split, and what is perturbed."""
        return self.split if self.clean else f"{self.split}, {self.perturbation} {self.severity}"


@dataclass(frozen=True)
class Submission:
    """Where records are from that others submitted: the archive `file`, and how a page shows it.

    `standing`: what a reader may believe of it. `entry`, `archive`: addresses of its page
    and of the archive. `collected`: (task, N) -> number of demonstrations in their file.
    """

    file: str
    title: str
    description: str
    standing: str
    entry: str
    archive: str
    collected: Mapping[tuple[str, int], int]

    def with_collected(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return episodes with their column `collected`, on which the order of demonstrations depends."""
        own = zip(frame["task"], frame["n"], strict=True)
        return frame.assign(**{COLLECTED: [self.collected.get((str(t), int(n)), int(n)) for t, n in own]})


@dataclass(frozen=True)
class RunRecords:
    """The records of the run in `root`.

    `episodes`, `decisions`: all of them; of a big run those of the cells in a sample.
    `everything`: all episodes; of a big run in parts. `made_by`, `sweep`: None if the
    folder does not say it. `films`: cell name -> mp4. `submission`: None for a run of
    one's own.
    """

    root: Path
    episodes: pd.DataFrame
    decisions: pd.DataFrame
    measures: Sequence[MeasureRecord]
    sweep: SweepSpec | None
    made_by: Fingerprint | None
    films: Mapping[str, Path]
    everything: Episodes
    submission: Submission | None = None

    @property
    def sampled(self) -> bool:
        """Whether `episodes` are a sample of the run's."""
        return isinstance(self.everything, EpisodeParts)

    @cached_property
    def cells(self) -> Mapping[str, CellHeader | None]:
        """The names of all cells; of a big run with their headers."""
        if isinstance(self.everything, EpisodeParts):
            return {header.name: header for header in self.everything.recorded.headers.values()}
        return dict.fromkeys(map(str, self.episodes["name"].unique()))

    @cached_property
    def total(self) -> int:
        """How many episodes the run has."""
        if isinstance(self.everything, EpisodeParts):
            recorded = self.everything.recorded
            return sum(recorded.count(key) for key in recorded.headers)
        return len(self.episodes)

    @cached_property
    def success(self) -> pd.DataFrame:
        """The numbers of the success table, of all episodes."""
        return success_table(self.everything).data

    @cached_property
    def flagged(self) -> pd.DataFrame:
        """The numbers of the table of flags, of all episodes."""
        return ood_table(self.everything).data

    @cached_property
    def train_seeds(self) -> int:
        """How many training seeds there are."""
        if isinstance(self.everything, EpisodeParts):
            return len({header.train_seed for header in self.everything.recorded.headers.values()})
        return int(self.episodes["train_seed"].nunique())

    @property
    def name(self) -> str:
        """The sweep's name, or the folder's; of a submission its title."""
        if self.submission:
            return self.submission.title
        return self.sweep.name if self.sweep else self.root.name

    @property
    def description(self) -> str:
        """What the sweep, or the submission's card, says of itself; empty if nothing."""
        if self.submission:
            return self.submission.description
        return self.sweep.description if self.sweep else ""

    @property
    def shown_root(self) -> str:
        """How commands name the folder, from the one above it, or above `results`; or the archive."""
        if self.submission:
            return self.submission.file
        path = self.root.absolute()
        return f"results/{path.name}" if path.parent.name == "results" else path.name

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """The tasks, in the order of all figures."""
        return tuple(tasks_in_order(map(str, self.success["task"].unique())))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The policies' labels, in the order of all figures."""
        return tuple(labels_in_order(map(str, self.success["label"].unique())))

    @cached_property
    def styles(self) -> Styles:
        """A colour, a marker and a name for each label."""
        return run_styles(self.everything)

    @cached_property
    def stars(self) -> Stars:
        """The labels with a star in legends. A legend serves all tasks and N of a label."""
        tasks, numbers = len(self.tasks) > 1, len({row.n for row in self.rows}) > 1

        def place(row: Row) -> str:
            return " ".join([*([row.task] if tasks else []), *([f"N = {row.n}"] if numbers else [])])

        return stars_of(Shown(row.label, row.label, place(row), self.is_short(row)) for row in self.rows)

    @cached_property
    def splits(self) -> list[str]:
        """The splits, in order of distance from the demonstrations."""
        return splits_in_order(self.success[["task", "split"]].drop_duplicates())

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The rows, by task, policy and N."""
        keys = self.success[ROW].drop_duplicates().itertuples(index=False, name=None)
        place = {label: i for i, label in enumerate(self.labels)}
        ordered = sorted(keys, key=lambda key: (self.tasks.index(key[0]), place[key[1]], key[4], key[2], key[3]))
        return tuple(
            Row(i, str(k[0]), str(k[1]), str(k[2]), str(k[3]), int(k[4]), place[k[1]]) for i, k in enumerate(ordered)
        )

    @cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """All numbers of success, in the order of rows, splits and perturbations."""
        rows = {row.key: row for row in self.rows}
        cells = {
            key: tuple(sorted(set(map(str, group)))) for key, group in self.episodes.groupby([*ROW, *CONDITION])["name"]
        }
        found = []
        for record in self.success.to_dict("records"):
            key = tuple(record[name] for name in ROW)
            found.append((rows[key], record, cells.get((*key, *(record[name] for name in CONDITION)), ())))
        found.sort(key=lambda one: (one[0].number, self.splits.index(one[1]["split"]), *_perturbed(one[1])))
        return tuple(_condition(i, *one) for i, one in enumerate(found))

    @cached_property
    def planned(self) -> tuple[str, ...]:
        """The names of all cells of the sweep; empty if it is not known here."""
        try:
            return (
                tuple(cell.name for cell in make_plan(self.sweep, provenance_of("", "", {})).cells)
                if self.sweep
                else ()
            )
        except (AltbenchError, ImportError):  # a policy or task that is not installed
            return ()

    @property
    def can_replay(self) -> bool:
        """Whether the folder has what `altbench video` replays: cells, and the run that they are of."""
        return self.submission is None and (self.root / "cells").is_dir()

    @cached_property
    def unconverged(self) -> frozenset[tuple[str, str, int]]:
        """(task, label, N) of the rows with a checkpoint that has not converged."""
        return frozenset().union(*(unconverged_rows(part) for part in parts_of(self.everything)))

    @cached_property
    def caveats(self) -> dict[str, str]:
        """What policies say of their rows, by label."""
        return caveats(self.everything)

    @property
    def missing_cells(self) -> tuple[str, ...]:
        """The planned cells that have no record."""
        return tuple(name for name in self.planned if name not in self.cells)

    def is_short(self, row: Row) -> bool:
        """Return whether a checkpoint of a row has not converged."""
        return (row.task, row.label, row.n) in self.unconverged

    def of(self, row: Row, **wanted: Any) -> list[Condition]:
        """Return the conditions of a row whose attributes are as `wanted`."""
        own = [one for one in self.conditions if one.row is row]
        return [one for one in own if all(getattr(one, name) == value for name, value in wanted.items())]


def load(root: Path, submission: Submission | None = None) -> RunRecords:
    """Read the run in `root`: finished, unfinished or published; or an archive's parts.

    `submission`: where these are from. Raises ResultsError, in one line, if it is no run's folder or holds no episode.
    """
    if not root.is_dir():
        raise ResultsError(f"{root}: no such folder; expected a run's folder, such as results/quick")
    if not ((root / "episodes.parquet").is_file() or (root / "cells").is_dir()):
        raise ResultsError(f"{root}: no records; expected episodes.parquet or cells/ in it, which `altbench run` makes")
    warn_of_unchecked(root)
    sweep = load_kept(root / "sweep.json") if (root / "sweep.json").is_file() else None
    everything, episodes, decisions = _read(root, sweep, submission)
    if episodes.empty:
        raise ResultsError(f"{root}: no finished cell in it; run the sweep again")
    measures = load_measures(root)
    films = {str(name): root / "videos" / f"{file_name(str(name))}.mp4" for name in episodes["name"].unique()}
    there = {name: path for name, path in films.items() if path.is_file()}
    made_by = load_fingerprint(root)
    return RunRecords(root, episodes, decisions, measures, sweep, made_by, there, everything, submission)


def _read(
    root: Path, sweep: SweepSpec | None, submission: Submission | None
) -> tuple[Episodes, pd.DataFrame, pd.DataFrame]:
    """Return all episodes, and episodes and decisions to hold: those of a sample of cells
    if there are more than `MOST_LOADED`.
    """
    parts = parts_of_run(load_parts(root), root, sweep, root)
    if submission:
        parts = EpisodeParts(parts.recorded, submission.with_collected)
    keys = _sample({key: parts.recorded.count(key) for key in parts.recorded.headers}, parts.recorded.headers)
    episodes, decisions = parts.add(parts.recorded.episodes(keys=keys)), parts.recorded.decisions(set(keys))
    return (episodes if len(keys) == len(parts.recorded) else parts), episodes, decisions


def _sample(counts: Mapping[str, int], headers: Mapping[str, CellHeader]) -> list[str]:
    """Return the keys of the cells to hold: all, or evenly chosen ones of each row's
    condition; if one of each were too many, of evenly chosen conditions.
    """
    total = sum(counts.values())
    if total <= MOST_LOADED:
        return list(counts)
    groups: dict[tuple[Any, ...], list[str]] = {}
    for key, header in sorted(headers.items(), key=lambda pair: pair[1].name):
        groups.setdefault(tuple(getattr(header, name) for name in (*ROW, *CONDITION)), []).append(key)
    chosen = [_evenly(own, len(own) * MOST_LOADED // total) for _, own in sorted(groups.items())]
    most = sum(counts[key] for own in chosen for key in own)
    return [key for own in _evenly(chosen, len(chosen) * MOST_LOADED // max(most, MOST_LOADED)) for key in own]


def _evenly(values: Sequence[T], wanted: int) -> list[T]:
    """Return `wanted` of `values`, at least one, evenly spaced."""
    wanted = max(1, wanted)
    return [values[i * len(values) // wanted] for i in range(wanted)]


def task_info(name: str) -> TaskInfo | None:
    """Return what is known of a task; None if it is not installed here."""
    try:
        return registry.task(name)
    except (AltbenchError, ImportError):
        return None


def begins_at(specification: str) -> int:
    """Return the control step at which a cell's perturbation begins, from its `spec_json`."""
    found = json.loads(specification or "{}").get("perturbation", [])
    return int(found[4]) if len(found) > 4 else 0


def _perturbed(record: Mapping[Any, Any]) -> tuple[bool, str, int]:
    return record["perturbation"] != CLEAN, str(record["perturbation"]), int(record["severity"])


def _condition(number: int, row: Row, record: Mapping[Any, Any], cells: tuple[str, ...]) -> Condition:
    rate, low, high = (None if pd.isna(record[name]) else float(record[name]) for name in ("rate", "low", "high"))
    return Condition(
        number=number,
        row=row,
        split=str(record["split"]),
        perturbation=str(record["perturbation"]),
        severity=int(record["severity"]),
        successes=int(record["successes"]),
        episodes=int(record["episodes"]),
        rate=rate,
        low=low,
        high=high,
        missing=int(record["infra_errors"]),
        best=None if pd.isna(record["best"]) else bool(record["best"]),
        cells=cells,
    )
