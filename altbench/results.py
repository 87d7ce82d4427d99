"""Records of a run on disk: one atomic file per cell, small JSON files beside them, and the flat tables made of them.

The files and their columns are described in results/README.md.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from altbench.atomic import replacing
from altbench.errors import ResultsError
from altbench.records import (
    CellHeader,
    CellResult,
    DecisionRecord,
    EpisodeRecord,
    MeasureRecord,
    Status,
    StepRecord,
)

__all__ = [
    "CellHeader",
    "CellResult",
    "DecisionRecord",
    "EpisodeRecord",
    "MeasureRecord",
    "Status",
    "StepRecord",
    "build_episodes_parquet",
    "cell_path",
    "is_finished",
    "is_recorded",
    "load_decisions",
    "load_episodes",
    "load_measures",
    "load_published",
    "measure_path",
    "outcomes",
    "read_cell",
    "write_cell",
    "write_measure",
]


FORMAT = 1
CELLS, MEASURES = "cells", "measures"
EPISODES_FILE, DECISIONS_FILE = "episodes.parquet", "decisions.parquet"

log = logging.getLogger(__name__)


ADDED = {"perturbation_status": pa.string(), "ood_threshold": pa.float64(), "moved": pa.bool_()}
"""Columns that came later: files written before are read with nulls in them."""
_EPISODES: TypeAdapter[tuple[EpisodeRecord, ...]] = TypeAdapter(tuple[EpisodeRecord, ...])
_DECISION_TYPE = pa.struct(
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
_EPISODE_SCHEMA = pa.schema(
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
_CELL_SCHEMA = _EPISODE_SCHEMA.append(pa.field("decisions", pa.list_(_DECISION_TYPE))).append(
    pa.field("trajectory", pa.list_(_STEP_TYPE))
)
_HEADER_TYPES = {"int": pa.int64(), "str": pa.string()}
_HEADER_SCHEMA = pa.schema([(f.name, _HEADER_TYPES[str(f.type)]) for f in fields(CellHeader)])
_ORDER = ["task", "label", "n", "train_seed", "split", "perturbation", "severity", "name", "key", "episode"]


# ------------------------------------------------------------------------------------------------------------ cells


def cell_path(folder: Path, key: str) -> Path:
    """Where the run in `folder` keeps the cell `key`."""
    return folder / CELLS / f"{key}.parquet"


def write_cell(folder: Path, header: CellHeader, episodes: Sequence[EpisodeRecord]) -> Path:
    """Write a whole cell at once to `folder`/cells/<key>.parquet; episodes are put in the order of their numbers."""
    rows = [{**asdict(e), "flagged": _flagged(e)} for e in sorted(episodes, key=lambda e: e.episode)]
    metadata = {"altbench.format": str(FORMAT), "altbench.header": json.dumps(asdict(header), sort_keys=True)}
    table = pa.Table.from_pylist(rows, schema=_CELL_SCHEMA.with_metadata(metadata))
    path = cell_path(folder, header.key)
    _write_parquet(path, table)
    return path


def read_cell(path: Path) -> CellResult:
    """The cell in `path`; ResultsError where the file is missing, truncated or foreign."""
    header, table = _read_table(path)
    rows = table.drop_columns(["flagged"]).to_pylist()
    return CellResult(header, _EPISODES.validate_python(rows))


def is_finished(folder: Path, key: str) -> bool:
    """Whether the cell `key` needs no more work: its file is whole, and no episode awaits another try (infra_error)."""
    try:
        header, table = _read_table(cell_path(folder, key))
    except ResultsError:
        return False
    return header.key == key and table.num_rows > 0 and "infra_error" not in table["status"].to_pylist()


def is_recorded(folder: Path, key: str) -> bool:
    """Whether the cell `key` has a whole file, if with episodes that await another try."""
    try:
        return _read_table(cell_path(folder, key))[0].key == key
    except ResultsError:
        return False


def outcomes(folder: Path, key: str) -> dict[int, EpisodeRecord]:
    """Episodes of the cell `key` that need not be played again, by their number: all but infra_errors."""
    if not is_recorded(folder, key):
        return {}
    episodes = read_cell(cell_path(folder, key)).episodes
    return {episode.episode: episode for episode in episodes if episode.status != "infra_error"}


def _flagged(episode: EpisodeRecord) -> bool | None:
    flags = [d.is_ood for d in episode.decisions if d.is_ood is not None]
    return any(flags) if flags else None


def _write_parquet(path: Path, table: Any) -> None:
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def _read_table(path: Path) -> tuple[CellHeader, Any]:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()
        metadata = table.schema.metadata or {}
        found = int(metadata.get(b"altbench.format", b"0"))
        if found != FORMAT:
            raise ResultsError(f"{path}: expected a cell of format {FORMAT}, found {found}; run the sweep again")
        return TypeAdapter(CellHeader).validate_json(metadata[b"altbench.header"]), _with_added(
            table, _CELL_SCHEMA.names
        )
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ResultsError(f"{path}: not a whole cell file ({reason}); run the sweep again to make it anew") from None


def _with_added(table: Any, names: Sequence[str]) -> Any:
    """The columns `names` of `table`, those that came after it was written with nulls."""
    for name, kind in ADDED.items():
        if name not in table.schema.names:
            table = table.append_column(name, pa.nulls(table.num_rows, kind))
    return table.select(names)


# ------------------------------------------------------------------------------------------------------ flat tables


def load_episodes(folder: Path, keys: Collection[str] | None = None) -> pd.DataFrame:
    """One row per episode with its cell's header, in a fixed order: the cells `keys`, or all (unreadable left out).

    `first_flagged_step` is Int64, `flagged` and `moved` boolean (all nullable), missing scores are NaN. A folder without
    cells/ but with episodes.parquet (a published run) is read from that.
    """
    return _episodes_frame(_episodes_table(folder, keys))


def load_published(folder: Path) -> pd.DataFrame:
    """`load_episodes` from episodes.parquet, as the run last wrote it, or from the cells where there is none."""
    path = folder / EPISODES_FILE
    return _episodes_frame(_read_episodes(path)) if path.is_file() else load_episodes(folder)


def load_decisions(folder: Path, keys: Collection[str] | None = None) -> pd.DataFrame:
    """One row per decision with its cell's and episode's identity; `matches` and `similarities` are lists."""
    path = folder / DECISIONS_FILE
    if keys is None and not (folder / CELLS).is_dir() and path.is_file():
        return _pandas(_read_flat(path), "is_ood", "boolean")
    return _pandas(_decisions_table(folder, keys), "is_ood", "boolean")


def build_episodes_parquet(folder: Path, keys: Collection[str] | None = None) -> None:
    """Write episodes.parquet and decisions.parquet from the cells: the same records give the same bytes.

    Pass the `keys` of the present plan, so that cells of an earlier configuration in the same folder stay out.
    """
    _write_parquet(folder / EPISODES_FILE, _episodes_table(folder, keys))
    _write_parquet(folder / DECISIONS_FILE, _decisions_table(folder, keys))


def _episodes_table(folder: Path, keys: Collection[str] | None) -> Any:
    path = folder / EPISODES_FILE
    if keys is None and not (folder / CELLS).is_dir() and path.is_file():
        return _read_episodes(path)
    empty = _with_header(None, _CELL_SCHEMA.empty_table())
    table = pa.concat_tables([empty, *(_with_header(h, t) for h, t in _cells(folder, keys))])
    ordered = table.drop_columns(["decisions", "trajectory"]).sort_by([(name, "ascending") for name in _ORDER])
    return ordered.combine_chunks()


def _decisions_table(folder: Path, keys: Collection[str] | None) -> Any:
    wanted = [name for name in _HEADER_SCHEMA.names if name != "spec_json"] + ["episode", "seed"]
    parts = []
    for header, table in [(None, _CELL_SCHEMA.empty_table()), *_cells(folder, keys)]:
        decisions = table["decisions"].combine_chunks()
        owner = _with_header(header, table).select(wanted).take(pc.list_parent_indices(decisions))
        for field, column in zip(_DECISION_TYPE, pc.list_flatten(decisions).flatten(), strict=True):
            owner = owner.append_column(field, column)
        parts.append(owner)
    order = [(name, "ascending") for name in [*_ORDER, "step"]]
    return pa.concat_tables(parts).sort_by(order).combine_chunks()


def _cells(folder: Path, keys: Collection[str] | None) -> Iterator[tuple[CellHeader, Any]]:
    """Header and table of each readable cell; ResultsError where two of an unrestricted set have the same name."""
    names: dict[str, str] = {}
    paths = sorted((folder / CELLS).glob("*.parquet"))
    for path in paths if keys is None else [cell_path(folder, key) for key in sorted(keys)]:
        try:
            header, table = _read_table(path)
        except ResultsError as error:
            log.warning("left out: %s", error)
            continue
        if keys is None and names.setdefault(header.name, header.key) != header.key:
            raise ResultsError(
                f"{folder}: two cells are called {header.name!r}, so one is left from an earlier configuration;"
                f" run the sweep again, or delete the older of {header.key}.parquet and {names[header.name]}.parquet"
            )
        yield header, table


def _with_header(header: CellHeader | None, table: Any) -> Any:
    """`table` with the header's fields as first columns (None: `table` is empty)."""
    values = {f.name: None for f in fields(CellHeader)} if header is None else asdict(header)
    for position, field in enumerate(_HEADER_SCHEMA):
        column = pa.array([values[field.name]] * table.num_rows, field.type)
        table = table.add_column(position, field, column)
    return table.replace_schema_metadata(None)


def _read_episodes(path: Path) -> Any:
    table = _read_flat(path)
    try:
        return _with_added(table, [*_HEADER_SCHEMA.names, *_EPISODE_SCHEMA.names])
    except KeyError as error:
        raise ResultsError(f"{path}: not a table of episodes ({error.args[0]}); build the run's tables again") from None


def _read_flat(path: Path) -> Any:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return file.read()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ResultsError(
            f"{path}: not a readable table of episodes ({error}); build the run's tables again"
        ) from None


def _episodes_frame(table: Any) -> pd.DataFrame:
    frame = _pandas(table, "first_flagged_step", "Int64")
    return frame.assign(**{name: pd.array(table[name].to_pylist(), dtype="boolean") for name in ("flagged", "moved")})


def _pandas(table: Any, nullable: str, dtype: Any) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    return frame.assign(**{nullable: pd.array(table[nullable].to_pylist(), dtype=dtype)})


# ----------------------------------------------------------------------------------------------------- measurements


def measure_path(folder: Path, key: str) -> Path:
    """Where the run in `folder` keeps the measurement of the checkpoint `key`."""
    return folder / MEASURES / f"{key}.json"


def write_measure(folder: Path, key: str, record: MeasureRecord) -> Path:
    """Write `folder`/measures/<key>.json atomically."""
    path = measure_path(folder, key)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")
    return path


def load_measures(folder: Path, keys: Collection[str] | None = None) -> list[MeasureRecord]:
    """The measurements `keys`, or all, by label, preset, N, device, threads and image size."""
    paths = (folder / MEASURES).glob("*.json") if keys is None else (measure_path(folder, key) for key in keys)
    records = [_read_measure(path) for path in sorted(paths) if path.is_file()]
    return sorted(records, key=lambda r: (r.label, r.preset, r.n, r.device, r.threads, r.image_size or (0, 0)))


def _read_measure(path: Path) -> MeasureRecord:
    try:
        return TypeAdapter(MeasureRecord).validate_json(path.read_bytes())
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "file"
        raise ResultsError(f"{path}: not a measurement ({where}: {fault['msg']}); delete it and run again") from None
