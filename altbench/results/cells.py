"""Cells on disk, one parquet file each.

A file that is not whole counts as missing. results/README.md describes the columns.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import TypeAdapter, ValidationError

from altbench.core.errors import ResultsError
from altbench.results.parquet import FORMAT_KEY, HEADER_KEY, read_parquet, write_parquet
from altbench.rollout.records import CellHeader, CellResult, EpisodeRecord
from altbench.system import sealed

FORMATS = (1, sealed.FORMAT)
"""The numbers of the file format that can be read; every file carries its own.

Files of format 1 have no digest.
"""
ADVICE = "run the sweep again to make the cell anew"
"""What to do about a damaged cell."""
CELLS = "cells"
"""The folder of cells in a run's folder."""
MOST_FLAT = 20_000
"""The most cells that lie in one folder: a listing takes time in proportion to its files."""
ADDED = {"perturbation_status": pa.string(), "ood_threshold": pa.float64(), "moved": pa.bool_()}
"""Columns that came after the first published runs: older files are read with nulls in
them.
"""
_EPISODES: TypeAdapter[tuple[EpisodeRecord, ...]] = TypeAdapter(tuple[EpisodeRecord, ...])
_HEADER: TypeAdapter[CellHeader] = TypeAdapter(CellHeader)
DECISION_TYPE = pa.struct(
    [
        ("step", pa.int64()),
        ("latency_s", pa.float64()),
        ("ood_score", pa.float64()),
        ("is_ood", pa.bool_()),
        ("matches", pa.list_(pa.list_(pa.int64()))),
        ("similarities", pa.list_(pa.float32())),
    ]
)
_STEP_TYPE = pa.struct([("action", pa.list_(pa.float32())), ("agent_pos", pa.list_(pa.float32()))])
EPISODE_SCHEMA = pa.schema(
    [
        ("episode", pa.int64()),
        ("seed", pa.int64()),
        ("status", pa.string()),
        ("success", pa.bool_()),
        ("steps", pa.int64()),
        ("episode_return", pa.float64()),
        ("max_ood_score", pa.float64()),
        ("flagged", pa.bool_()),  # derived: null where the policy raises no flags, which a null step alone cannot say
        ("first_flagged_step", pa.int64()),
        ("wall_s", pa.float64()),
        ("message", pa.string()),
        *ADDED.items(),
    ]
)
CELL_SCHEMA = EPISODE_SCHEMA.append(pa.field("decisions", pa.list_(DECISION_TYPE))).append(
    pa.field("trajectory", pa.list_(_STEP_TYPE))
)
WITHOUT_MOTION = [*EPISODE_SCHEMA.names, "decisions"]
"""The columns of a cell but for its trajectories, which take the most room."""
_HEADER_TYPES = {"int": pa.int64(), "str": pa.string()}
HEADER_SCHEMA = pa.schema([(f.name, _HEADER_TYPES[str(f.type)]) for f in fields(CellHeader)])

log = logging.getLogger(__name__)


def cell_path(folder: Path | str, key: str) -> Path:
    """Return where the run in `folder` keeps the cell `key`.

    That is cells/<key>.parquet. A big run (`divide`) has cells/<two digits>/<key>.parquet
    instead, but for cells that were written before it became big.
    """
    flat = Path(folder) / CELLS / f"{key}.parquet"
    part = flat.parent / key[:2]
    return part / flat.name if part.is_dir() and not flat.is_file() else flat


def cell_files(folder: Path | str) -> list[Path]:
    """Return the files of all cells of the run in `folder`, by key."""
    cells = Path(folder) / CELLS
    return sorted([*cells.glob("*.parquet"), *cells.glob("??/*.parquet")], key=lambda path: path.stem)


def divide(folder: Path | str, cells: int) -> None:
    """Prepare the run in `folder` for so many `cells` that one folder would be slow.

    Call it before any work. Cells that are there stay where they are.
    """
    if cells > MOST_FLAT:
        for number in range(256):
            (Path(folder) / CELLS / f"{number:02x}").mkdir(parents=True, exist_ok=True)


def write_cell(folder: Path | str, header: CellHeader, episodes: Sequence[EpisodeRecord]) -> Path:
    """Write a whole cell at once to `folder`/cells/<key>.parquet, its episodes ordered
    by number.
    """
    metadata = {HEADER_KEY: json.dumps(asdict(header), sort_keys=True)}
    table = to_table(episodes).replace_schema_metadata(metadata)
    path = cell_path(folder, header.key)
    write_parquet(path, table)
    return path


def to_table(episodes: Sequence[EpisodeRecord]) -> Any:
    """Return records as an arrow table, a row per episode in the order of their
    numbers.
    """
    return pa.Table.from_pylist([_row(e) for e in sorted(episodes, key=lambda e: e.episode)], schema=CELL_SCHEMA)


def _row(episode: EpisodeRecord) -> dict[str, Any]:
    # Not `asdict`, which copies every number of a trajectory: that took longer than all else of writing a cell.
    parts = {"decisions": list(map(vars, episode.decisions)), "trajectory": list(map(vars, episode.trajectory))}
    return {**vars(episode), **parts, "flagged": _flagged(episode)}


def read_cell(path: Path | str) -> CellResult:
    """Return the cell in `path`.

    ResultsError if the file is missing, damaged or not a cell.
    """
    return to_result(path, *read_table(path))


def to_result(path: Path | str, header: CellHeader, table: Any) -> CellResult:
    """Return what `read_table` read from `path`, as frozen records.

    ResultsError if the values cannot be records: an old file, which carries no digest,
    may be damaged.
    """
    try:
        return CellResult(header, _EPISODES.validate_python(table.drop_columns(["flagged"]).to_pylist()))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise ResultsError(f"{path}: damaged (episodes.{where}: {fault['msg']}); {ADVICE}") from None
    except ValueError as error:
        raise sealed.damaged(path, error, ADVICE) from None


def is_finished(folder: Path | str, key: str) -> bool:
    """Return whether the cell `key` needs no more work.

    Its file must be whole, and no episode may await another try (infra_error). A
    damaged file counts as missing, with a warning.
    """
    path = cell_path(folder, key)
    try:
        header, table = read_table(path, EPISODE_SCHEMA.names)
    except ResultsError as error:
        if path.exists():
            log.warning("counts as missing: %s", error)
        return False
    return header.key == key and table.num_rows > 0 and not awaits_another_try(table)


def is_recorded(folder: Path | str, key: str) -> bool:
    """Return whether the cell `key` has a whole file.

    Its episodes may await another try.
    """
    try:
        return read_table(cell_path(folder, key))[0].key == key
    except ResultsError:
        return False


def awaits_another_try(table: Any) -> list[str]:
    """Return the messages of a cell's infra_errors."""
    pairs = zip(table["status"].to_pylist(), table["message"].to_pylist(), strict=True)
    return [message for status, message in pairs if status == "infra_error"]


def outcomes(folder: Path | str, key: str) -> dict[int, EpisodeRecord]:
    """Return the episodes of the cell `key` that are final, by number: all but
    infra_errors.
    """
    try:
        found = read_cell(cell_path(folder, key))
    except ResultsError:
        return {}
    episodes = found.episodes if found.header.key == key else ()
    return {episode.episode: episode for episode in episodes if episode.status != "infra_error"}


def _flagged(episode: EpisodeRecord) -> bool | None:
    flags = [d.is_ood for d in episode.decisions if d.is_ood is not None]
    return any(flags) if flags else None


def read_table(path: Path | str, columns: Sequence[str] = CELL_SCHEMA.names) -> tuple[CellHeader, Any]:
    """Return a cell's header and arrow table, one row per episode, with `columns`.

    ResultsError as `read_cell`.
    """
    table, metadata = read_parquet(path, CELL_SCHEMA, ADVICE, columns)
    try:
        found = int(metadata.get(FORMAT_KEY.encode(), b"0"))
        if found not in FORMATS:
            raise ValueError(f"expected a cell of format {sealed.FORMAT}, found {found}")
        header = _HEADER.validate_json(metadata[HEADER_KEY.encode()])
        return header, with_added(table, columns)
    except (ValueError, KeyError) as error:
        raise sealed.damaged(path, error, ADVICE) from None


def with_added(table: Any, names: Sequence[str]) -> Any:
    """Return the columns `names` of `table`; columns newer than the file hold nulls."""
    for name, kind in ADDED.items():
        if name not in table.schema.names:
            table = table.append_column(name, pa.nulls(table.num_rows, kind))
    return table.select(names)
