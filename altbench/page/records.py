"""What the page of a run is made of: its records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from altbench.core import registry
from altbench.core.errors import AltbenchError
from altbench.core.task import TaskInfo
from altbench.page.conditions import Condition, Row, condition_of, order_of
from altbench.report.caveats import caveats
from altbench.report.drawing.order import labels_in_order, tasks_in_order
from altbench.report.drawing.stars import Shown, Stars, stars_of, unconverged_rows
from altbench.report.figures import run_styles
from altbench.report.flags import ood_table
from altbench.report.splits import splits_in_order
from altbench.report.style import Styles
from altbench.report.success import CONDITION, ROW, success_table
from altbench.results.collected import COLUMN as COLLECTED
from altbench.rollout.records import CellHeader, MeasureRecord
from altbench.stats.parts import EpisodeParts, Episodes, parts_of
from altbench.sweeps.plan import make_plan
from altbench.sweeps.rows import provenance_of
from altbench.sweeps.spec import SweepSpec
from altbench.system.fingerprint import Fingerprint


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
        found.sort(key=lambda one: (one[0].number, self.splits.index(one[1]["split"]), *order_of(one[1])))
        return tuple(condition_of(i, *one) for i, one in enumerate(found))

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
