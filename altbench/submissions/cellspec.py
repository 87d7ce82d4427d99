"""What a cell's specification says: enough to plan its episodes again without its policy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pydantic

from altbench.core import registry
from altbench.core.errors import AltbenchError, ConfigError
from altbench.core.spec import Spec
from altbench.results.cells import cell_files, read_cell
from altbench.results.parquet import FORMAT_KEY
from altbench.rollout.plan import EpisodePlan
from altbench.rollout.records import CellHeader, CellResult
from altbench.runner.episodes import Started, plan_episode
from altbench.submissions.manifest import Shown, SubmissionError
from altbench.sweeps.needs import FROM_DEMONSTRATIONS
from altbench.sweeps.rows import Column
from altbench.sweeps.spec import CLEAN, EventEntry, PerturbationEntry

MOST_ROWS = 100_000
"""The most episodes of one cell in an archive."""
MOST_VALUES = 20_000_000
"""The most numbers of one table in an archive. 1,000 episodes of 400 steps with two arms have 17 million."""
MOST_BYTES = 8 * MOST_VALUES
"""The most bytes of one table, once it is unpacked."""
MOST_IN_ALL = 5 * MOST_VALUES
"""The most numbers of all cells of an archive."""


class CellSpecification(Spec):
    """The specification of a cell, whose digest is its key (altbench/sweeps/keys.py)."""

    checkpoint: str
    label: str
    preset: str
    config: dict[str, Any]
    split: str
    perturbation: tuple[Any, ...] = pydantic.Field(min_length=3, max_length=8)
    event: tuple[Any, ...] | None = pydantic.Field(default=None, min_length=2, max_length=2)
    perturbation_label: str = ""
    episodes: int = pydantic.Field(ge=1, le=MOST_ROWS)
    seed: int
    protocol: int
    horizon: int | None = None
    timeout: float
    episode_timeout_s: float | None = None
    give_up_after: int | None = None
    threads: int
    render_profile: str
    versions: dict[str, str]
    device: str
    renderer: str

    def column(self) -> Column:
        """Return the column that the cell belongs to; its perturbation is not made."""
        name, severity, options, *rest = self.perturbation
        cameras, from_step = rest[:2] if rest and isinstance(rest[0], list) else ((), 0)
        entry = PerturbationEntry(
            name=name, label=self.perturbation_label, options=options, cameras=tuple(cameras), from_step=from_step
        )
        return Column(self.split, entry, severity, self._event())

    def _event(self) -> EventEntry | None:
        if self.event is None:
            return None
        move_at, what = self.event
        return EventEntry.parse({"move_at": move_at, "to" if isinstance(what, str) else "by": what}, "event")


class PlayedCell:
    """A cell of an archive: its header, its episodes, and its specification."""

    def __init__(self, found: CellResult) -> None:
        self.header: CellHeader = found.header
        self.episodes = found.episodes
        try:
            self.spec = CellSpecification.parse(json.loads(found.header.spec_json), f"{self.header.name}: spec_json")
            self.column = self.spec.column()
        except (AltbenchError, ValueError, TypeError, RecursionError) as error:
            raise SubmissionError(f"{self.header.name!a}: not a cell's specification: {_one_line(error)}") from None

    @property
    def is_clean(self) -> bool:
        """Whether nothing is perturbed and no event happens."""
        return self.column.entry.name == CLEAN and self.column.event is None

    def starts(self, shown: Sequence[Shown]) -> Sequence[Started]:
        """Return the demonstrations that the episodes begin from; none in a split that draws its poses.

        ConfigError if the archive does not name them.
        """
        if self.spec.split not in FROM_DEMONSTRATIONS:
            return ()
        for one in shown:
            if (one.task, one.n) == (self.header.task, self.header.n):
                return begun(one)
        raise ConfigError(f"{self.header.name}: its demonstrations are missing from the archive")

    def plans(self, shown: Sequence[Shown], root_seed: int | None = None, perturbed: bool = False) -> list[EpisodePlan]:
        """Return the plans of the cell's episodes, as the runner makes them.

        `root_seed`: in place of the cell's own. `perturbed`: with the perturbation, which
        changes images alone; only built-in ones are made.
        """
        column, starts = self.column, self.starts(shown)
        perturbation = None
        if perturbed and column.entry.name != CLEAN:
            if column.entry.name not in registry.BUILT_IN["perturbation"]:
                raise ConfigError(f"{self.header.name}: {column.entry.name!r} is not built in, and its code is not run")
            if names_files(column.entry.options):
                raise ConfigError(f"{self.header.name}: its perturbation names files, which are not read")
            perturbation = registry.perturbation(column.entry.name)(column.severity, **column.entry.options)
        return [
            plan_episode(
                self.spec.seed if root_seed is None else root_seed,
                index,
                self.spec.split,
                starts,
                perturbation=perturbation,
                cameras=column.entry.cameras,
                from_step=column.entry.from_step,
                event=column.event,
            )
            for index in range(self.spec.episodes)
        ]


def read_cells(folder: Path) -> list[PlayedCell]:
    """Return the cells of the archive in `folder`, in the order of their names.

    SubmissionError, in one line, if one is damaged, too large, or no cell.
    """
    found, total = [], 0
    for path in cell_files(folder):
        total += check_size(path)
        if total > MOST_IN_ALL:
            raise SubmissionError(f"expected cells of at most {MOST_IN_ALL:,} numbers together, got more")
        try:
            found.append(PlayedCell(read_cell(path)))
        except SubmissionError:
            raise
        except AltbenchError as error:
            raise SubmissionError(str(error).replace(f"{folder}/", "")) from None
    return sorted(found, key=lambda cell: (cell.header.name, cell.header.key))


def check_size(path: Path) -> int:
    """Return how many numbers a parquet file holds; SubmissionError if they would fill the memory.

    The footer says how much there is, and no page is unpacked before.
    """
    try:
        with pq.ParquetFile(path, thrift_string_size_limit=100_000_000, thrift_container_size_limit=1_000_000) as file:
            about = file.metadata
            groups = [about.row_group(i) for i in range(about.num_row_groups)]
            columns = [group.column(i) for group in groups for i in range(group.num_columns)]
            values = sum(column.num_values for column in columns)
            unpacked = sum(column.total_uncompressed_size for column in columns)
            has_format = FORMAT_KEY.encode() in (about.metadata or {})
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise SubmissionError(f"{path.name}: damaged ({_one_line(error)})") from None
    if about.num_rows > MOST_ROWS or values > MOST_VALUES or unpacked > MOST_BYTES:
        raise SubmissionError(
            f"{path.name}: expected at most {MOST_ROWS:,} rows, {MOST_VALUES:,} numbers and {MOST_BYTES:,} bytes, got "
            f"{about.num_rows:,} rows, {values:,} numbers, {unpacked:,} bytes"
        )
    if not has_format:
        raise SubmissionError(f"{path.name}: expected a table that altbench wrote, with its format in the footer")
    return int(values)


class _Begun:
    """A demonstration as far as an archive holds it: the state in which it began."""

    def __init__(self, state: Any) -> None:
        self.initial_state = state


def begun(shown: Shown) -> list[Started]:
    """Return what `plan_episode` takes of the demonstrations that an archive names."""
    import numpy as np

    from altbench.core.task import InitialState

    return [
        _Begun(InitialState(np.array(one.sim_state, np.float64), np.array(one.object_pose, np.float64)))
        for one in shown.starts
    ]


def names_files(settings: Any) -> bool:
    """Return whether a text anywhere in settings could name a file: it has a slash, or there is such a file."""
    if isinstance(settings, Mapping):
        return any(names_files(one) for one in settings.values())
    if isinstance(settings, list | tuple):
        return any(names_files(one) for one in settings)
    if not isinstance(settings, str) or not settings:
        return False
    try:
        return "/" in settings or "\\" in settings or Path(settings).exists()
    except (OSError, ValueError):
        return True


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
