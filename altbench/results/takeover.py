"""Episodes that an older cell has played already: a cell with more or fewer takes them over.

An episode depends on its number, not on how many there are. So two cells whose
specifications differ in the number of episodes alone share those that both have.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from altbench.core.spec import canonical
from altbench.results.cells import cell_files, outcomes
from altbench.results.parquet import HEADER_KEY
from altbench.rollout.records import EpisodeRecord
from altbench.sweeps.plan import Cell

NOT_PLAYED: frozenset[str] = frozenset({"infra_error", "given_up"})
"""The statuses of episodes that are decided anew: they depend on what else was played."""


def older_cells(folder: Path, cells: Sequence[Cell], planned: Collection[str] = ()) -> dict[str, tuple[str, ...]]:
    """Return the key of each of `cells` -> keys of recorded ones with the same episodes.

    Reads the headers of all cells of the run in `folder` but those `planned`, unless
    `cells` is empty. `planned`: the keys of one plan, in which no two cells have the
    same episodes. A cell without older ones is left out.
    """
    if not cells:
        return {}
    recorded: dict[str, list[str]] = {}
    for path in (path for path in cell_files(folder) if path.stem not in planned):
        same = _apart_from_number(_specification(path))
        recorded.setdefault(same, []).append(path.stem)
    if not recorded:
        return {}
    found = {c.key: recorded.get(_apart_from_number(c.specification), []) for c in cells}
    return {key: tuple(one for one in older if one != key) for key, older in found.items() if set(older) - {key}}


def taken_over(folder: Path, older: Sequence[str], episodes: int) -> dict[int, EpisodeRecord]:
    """Return the episodes that the cells `older` played, with numbers below `episodes`.

    A damaged cell gives none. Episodes that were not played are left out.
    """
    found: dict[int, EpisodeRecord] = {}
    for key in older:
        played = {number: one for number, one in outcomes(folder, key).items() if one.status not in NOT_PLAYED}
        found |= {number: one for number, one in played.items() if number < episodes}
    return found


def _specification(path: Path) -> str:
    """Return the specification of the cell in `path`, read from its header alone.

    Empty if it cannot be read.
    """
    try:
        metadata = pq.read_schema(path).metadata or {}
        return str(json.loads(metadata[HEADER_KEY.encode()])["spec_json"])
    except (OSError, KeyError, ValueError, TypeError, pa.ArrowException):
        return ""


def _apart_from_number(specification: str) -> str:
    try:
        values = json.loads(specification)
        return canonical({**values, "episodes": 0})
    except (ValueError, TypeError):
        return specification
