"""Measurements of latency and memory on disk: one file each."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from altbench.core.errors import ResultsError
from altbench.rollout.records import MeasureRecord
from altbench.system.files import replacing

MEASURES = "measures"
"""The folder of measurements in a run's folder."""


def measure_path(folder: Path | str, key: str) -> Path:
    """Return where the run in `folder` keeps the measurement `key`."""
    return Path(folder) / MEASURES / f"{key}.json"


def write_measure(folder: Path | str, key: str, record: MeasureRecord) -> Path:
    """Write `folder`/measures/<key>.json atomically."""
    path = measure_path(folder, key)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")
    return path


def load_measures(folder: Path | str, keys: Collection[str] | None = None) -> list[MeasureRecord]:
    """Return the measurements `keys`, or all, by label, preset, N, device, threads and
    image size.
    """
    paths = (Path(folder) / MEASURES).glob("*.json") if keys is None else (measure_path(folder, key) for key in keys)
    records = [_read_measure(path) for path in sorted(paths) if path.is_file()]
    return sorted(records, key=lambda r: (r.label, r.preset, r.n, r.device, r.threads, r.image_size or (0, 0)))


def _read_measure(path: Path) -> MeasureRecord:
    try:
        return TypeAdapter(MeasureRecord).validate_json(path.read_bytes())
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "file"
        raise ResultsError(f"{path}: not a measurement ({where}: {fault['msg']}); delete it and run again") from None
