"""The part `starts.parquet`: the state in which every episode began."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from altbench.core.errors import AltbenchError
from altbench.core.task import InitialState
from altbench.results.parquet import read_parquet, write_parquet
from altbench.submissions.cellspec import check_size
from altbench.submissions.manifest import ADVICE, SubmissionError

STARTS = "starts.parquet"
"""The part's name."""
_NUMBERS = pa.list_(pa.float64())
_SCHEMA = pa.schema([("key", pa.string()), ("episode", pa.int64()), ("sim_state", _NUMBERS), ("object_pose", _NUMBERS)])
States = Mapping[tuple[str, int], InitialState]
"""(cell's key, episode) -> the state in which the episode began."""


def write_starts(folder: Path, states: States) -> Path:
    """Write the part into `folder`; the same states give the same bytes."""
    rows = [
        {"key": key, "episode": episode, "sim_state": one.sim_state.tolist(), "object_pose": one.object_pose.tolist()}
        for (key, episode), one in sorted(states.items())
    ]
    path = folder / STARTS
    write_parquet(path, pa.Table.from_pylist(rows, schema=_SCHEMA))
    return path


def read_starts(folder: Path) -> States:
    """Return the states in the archive in `folder`; SubmissionError if the part is damaged or missing."""
    path = folder / STARTS
    if not path.is_file():
        raise SubmissionError(f"expected the part {STARTS}, which is missing")
    check_size(path)
    try:
        table = read_parquet(path, _SCHEMA, ADVICE)[0].select(_SCHEMA.names)
    except (AltbenchError, KeyError) as error:
        raise SubmissionError(f"{STARTS}: {error}".replace(f"{folder}/", "")) from None
    found: dict[tuple[str, int], InitialState] = {}
    for row in table.to_pylist():
        arrays = [np.array(row[name] or [], np.float64) for name in ("sim_state", "object_pose")]
        if found.setdefault((row["key"], row["episode"]), one := InitialState(*arrays)) is not one:
            raise SubmissionError(f"{STARTS}: {row['key']!s:.12}: the episode {row['episode']} is there twice")
    return found
