"""Measurements of latency and memory on disk: one file each."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Iterable
from dataclasses import asdict, fields
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from altbench.core.errors import ResultsError
from altbench.rollout.records import MeasureRecord
from altbench.system import sealed

MEASURES = "measures"
"""The folder of measurements in a run's folder."""
_ADVICE = "run the sweep again to measure anew"
_RECORD: TypeAdapter[MeasureRecord] = TypeAdapter(MeasureRecord)
_NAMES = tuple(field.name for field in fields(MeasureRecord))

log = logging.getLogger(__name__)


def measure_path(folder: Path | str, key: str) -> Path:
    """Return where the run in `folder` keeps the measurement `key`."""
    return Path(folder) / MEASURES / f"{key}.json"


def write_measure(folder: Path | str, key: str, record: MeasureRecord) -> Path:
    """Write `folder`/measures/<key>.json, sealed and whole or not at all."""
    path = measure_path(folder, key)
    sealed.write_json(path, asdict(record))
    return path


def is_measured(folder: Path | str, key: str) -> bool:
    """Return whether the measurement `key` has a file that is not damaged."""
    return _read(measure_path(folder, key)) is not None


def load_measures(folder: Path | str, keys: Collection[str] | None = None) -> list[MeasureRecord]:
    """Return the measurements `keys`, or all, `in_order`.

    Damaged files are left out, with a warning.
    """
    return in_order(find_measures(folder, keys).values())


def in_order(records: Iterable[MeasureRecord]) -> list[MeasureRecord]:
    """Sort measurements by label, preset, N, device, threads and image size."""
    return sorted(records, key=lambda r: (r.label, r.preset, r.n, r.device, r.threads, r.image_size or (0, 0)))


def copy_measures(sources: Iterable[Path], folder: Path | str) -> None:
    """Copy files of measurements into `folder`/measures."""
    for path in sources:
        target = measure_path(folder, path.stem)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def find_measures(folder: Path | str, keys: Collection[str] | None = None) -> dict[Path, MeasureRecord]:
    """Return the measurements `keys`, or all, by file; damaged ones are left out, with a warning."""
    paths = (Path(folder) / MEASURES).glob("*.json") if keys is None else (measure_path(folder, key) for key in keys)
    return {path: record for path in sorted(paths) if (record := _read(path))}


def _read(path: Path) -> MeasureRecord | None:
    """Return the measurement in `path`; None if it is missing or, with a warning,
    damaged.
    """
    if not path.is_file():
        return None
    try:
        return _parsed(path)
    except ResultsError as error:
        log.warning("counts as missing: %s", error)
        return None


def _parsed(path: Path) -> MeasureRecord:
    values = sealed.read_json(path, _NAMES, _ADVICE)
    try:
        return _RECORD.validate_python(values)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "file"
        raise ResultsError(f"{path}: not a measurement ({where}: {fault['msg']}); {_ADVICE}") from None
