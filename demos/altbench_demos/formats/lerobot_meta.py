"""What the files of `meta/` say of a LeRobotDataset v3.0, and its tables.

Nothing in them is executed or unpickled. All is read with limits on sizes, from the
places where LeRobot 0.4 to 0.6 keep it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from altbench.api import ControlMode, DatasetError, ImportOptions, Recognised, StateViewer, hdf5
from altbench_demos.formats import lerobot_layout, viewing
from altbench_demos.formats.lerobot_layout import ACTION, IMAGES, SIM_STATE, STATE

MAX_JSON_BYTES = 16 << 20
"""Bytes of a file of `meta/`, at most. It is read whole."""
MAX_TABLE_BYTES = 2 << 30
"""Bytes of a parquet file in memory, at most: LeRobot keeps files to 100 MB."""
MAX_EPISODES, MAX_FRAMES = 100_000, 100_000
CONVERTER = "python -m lerobot.scripts.convert_dataset_v21_to_v30 --repo-id=NAME --root=FOLDER"
"""LeRobot's own way from v2.1 to v3.0."""


@dataclass(frozen=True)
class Header:
    """What `meta/` says.

    `film`: whether images are films. `drawn`: whether they are drawn instead of read.
    `episodes`: a row each of `meta/episodes`.
    """

    folder: Path
    mode: ControlMode
    image_size: tuple[int, int]
    film: bool
    drawn: bool
    fps: float
    episodes: Sequence[Mapping[str, Any]]


def recognise(folder: Path) -> Recognised | None:
    """Return what a data set says of itself; None if it is not LeRobot's."""
    try:
        version = read_json(folder / lerobot_layout.INFO).get("codebase_version")
        task = read_json(folder / lerobot_layout.OURS).get("task") if _is_ours(folder) else None
    except DatasetError:
        return None
    if version is None:
        return None
    words = f"{lerobot_layout.INFO}: codebase_version {str(version)[:20]!r}"
    if not isinstance(task, str):
        return Recognised(words)
    return Recognised(f"{words}, {lerobot_layout.OURS}: task {task[:80]!r}", task[:80])


def _is_ours(folder: Path) -> bool:
    return (folder / lerobot_layout.OURS).is_file()


def read_info(folder: Path) -> dict[str, Any]:
    """Return `meta/info.json`; DatasetError if the data set is of another version."""
    file = folder / lerobot_layout.INFO
    info = read_json(file)
    version = info.get("codebase_version")
    if version == lerobot_layout.VERSION:
        return info
    hint = f"; convert it with LeRobot: {CONVERTER}" if version == "v2.1" else ""
    if isinstance(version, str) and version.startswith(("v1", "v2.0")):
        hint = "; convert it to v2.1 with an older LeRobot, then to v3.0"
    raise DatasetError(f"{file}: expected codebase_version {lerobot_layout.VERSION}, got {str(version)[:20]!r}{hint}")


def read_json(file: Path) -> dict[str, Any]:
    """Return a JSON object in a file of `meta/`."""
    if not file.is_file():
        raise DatasetError(f"{file.parent.parent}: expected a LeRobot data set, but {file} is missing")
    if file.stat().st_size > MAX_JSON_BYTES:
        raise DatasetError(f"{file}: expected at most {MAX_JSON_BYTES:,} bytes, got {file.stat().st_size:,}")
    with hdf5.guarded(file):
        content = file.read_text(encoding="utf-8")
    return hdf5.json_object(str(file), content)


def read_header(folder: Path, info: Mapping[str, Any], viewer: StateViewer, options: ImportOptions) -> Header:
    """Return what `meta/` says; DatasetError if it is not the viewer's task."""
    where, task = f"{folder / lerobot_layout.INFO}", viewer.info
    _check_task(folder, viewer)
    if info.get("fps") != task.control_hz:
        raise DatasetError(f"{where}: expected {task.control_hz:g} frames per second, got {str(info.get('fps'))[:20]}")
    _check_paths(where, info)
    found = info.get("features")
    features = found if isinstance(found, dict) else {}
    for name in (SIM_STATE, STATE, ACTION):
        if name not in features:
            raise DatasetError(
                f"{where}: expected the feature {name}, got {sorted(features)[:20]}; only data sets that altbench "
                "exported hold the simulator's states"
            )
    mode = _control_mode(where, features, viewer, options)
    drawn, film, size = _images(where, features, viewer, options)
    return Header(folder, mode, size, film, drawn, task.control_hz, _episodes(folder, info, film and not drawn, viewer))


def _check_task(folder: Path, viewer: StateViewer) -> None:
    """Raise DatasetError if the data set says that it is another task's."""
    if _is_ours(folder):
        name = read_json(folder / lerobot_layout.OURS).get("task")
        if name != viewer.info.name:
            raise DatasetError(
                f"{folder / lerobot_layout.OURS}: expected demonstrations of {viewer.info.name}, got {str(name)[:80]!r}"
            )


def _check_paths(where: str, info: Mapping[str, Any]) -> None:
    # A template from the file could name any of the user's files.
    for key, expected in (("data_path", lerobot_layout.DATA), ("video_path", lerobot_layout.VIDEO)):
        if info.get(key) not in (expected, None):
            raise DatasetError(f"{where}: expected {key} {expected!r}, got {str(info[key])[:120]!r}")


def _control_mode(where: str, features: Mapping[str, Any], viewer: StateViewer, options: ImportOptions) -> ControlMode:
    """Return the mode whose numbers have the names of the file's, or the user's own."""
    feature = features[ACTION] if isinstance(features[ACTION], dict) else {}
    names, shape = feature.get("names"), feature.get("shape")
    said = [mode for mode in get_args(ControlMode) if names == lerobot_layout.action_names(viewer.info, mode)]
    wanted = options.control_mode
    if said and wanted in (None, said[0]):
        return cast(ControlMode, said[0])
    if not said and wanted and shape == [viewer.info.action_dim(wanted)]:
        return wanted
    if said:
        raise DatasetError(f"{where}: expected actions {wanted}, got {said[0]}")
    expected = lerobot_layout.action_names(viewer.info, wanted or "ee_pose")
    hint = "" if wanted else "; if they are named otherwise, say what they are with --control-mode"
    raise DatasetError(
        f"{where}: expected actions named {expected}, got {str(names)[:200]} of shape {shape}{hint}"[:600]
    )


def _images(
    where: str, features: Mapping[str, Any], viewer: StateViewer, options: ImportOptions
) -> tuple[bool, bool, tuple[int, int]]:
    """Return whether images are drawn, whether the file's are films, and their size (H, W)."""
    found = {camera: features.get(f"{IMAGES}{camera}") for camera in viewer.info.cameras}
    there = sorted(name for name in features if str(name).startswith(IMAGES))
    if options.render or not there:
        return True, False, options.image_size or viewing.DEFAULT_IMAGE_SIZE
    kinds = {str(each.get("dtype")) if isinstance(each, dict) else "missing" for each in found.values()}
    shapes = {str(each.get("shape")) for each in found.values() if isinstance(each, dict)}
    if len(kinds) != 1 or not kinds <= {"image", "video"} or len(shapes) != 1:
        wanted = [f"{IMAGES}{camera}" for camera in found]
        raise DatasetError(
            f"{where}: expected images {wanted}, all video or all image, of one shape, got {there}, {sorted(kinds)}, "
            f"{sorted(shapes)}; --render draws them from the states"[:600]
        )
    first: Any = next(iter(found.values()))
    shape = first["shape"]
    if not (isinstance(shape, list) and len(shape) == 3 and shape[2] == 3 and all(_is_side(n) for n in shape[:2])):
        raise DatasetError(f"{where}: expected images [height, width, 3] of 8 to 2048 pixels, got {str(shape)[:80]}")
    size = (shape[0], shape[1])
    if options.image_size not in (None, size):
        raise DatasetError(
            f"{where}: expected images of {options.image_size}, got {size}; --render draws them from the states"
        )
    return False, kinds == {"video"}, size


def _is_side(value: object) -> bool:
    return type(value) is int and 8 <= value <= 2048


def _episodes(folder: Path, info: Mapping[str, Any], film: bool, viewer: StateViewer) -> list[dict[str, Any]]:
    """Return the rows of `meta/episodes`, checked; with `film` also where films have them."""
    columns = {"episode_index": int, "length": int, "data/chunk_index": int, "data/file_index": int}
    for camera in viewer.info.cameras if film else ():
        place = f"videos/{IMAGES}{camera}"
        columns |= {f"{place}/chunk_index": int, f"{place}/file_index": int}
        columns |= cast(dict[str, Any], {f"{place}/from_timestamp": float})
    files = sorted((folder / "meta/episodes").glob("chunk-*/file-*.parquet"))
    rows = [row for file in files for row in table(file, list(columns), MAX_EPISODES).to_pylist()]
    where = f"{folder / 'meta/episodes'}"
    if len(rows) != info.get("total_episodes") or not rows:
        raise DatasetError(f"{where}: expected {str(info.get('total_episodes'))[:20]} episodes, got {len(rows)}")
    for number, row in enumerate(rows):
        good = all(type(row[name]) is kind and row[name] >= 0 for name, kind in columns.items())
        if not good or row["episode_index"] != number or not 1 <= row["length"] <= MAX_FRAMES:
            raise DatasetError(f"{where}: expected episode {number} with its places, got {str(row)[:300]}")
    return rows


def table(file: Path, columns: list[str], most: int, only: tuple[str, int] | None = None) -> pa.Table:
    """Return the `columns` of a parquet file; `only`: the rows with this whole number.

    DatasetError if the file is damaged, has more than `most` such rows, lacks a column,
    or is too large.
    """
    if not file.is_file():
        raise DatasetError(f"{file}: missing")
    with hdf5.guarded(file):
        described = pq.read_metadata(file)
        size = sum(described.row_group(i).total_byte_size for i in range(described.num_row_groups))
        if size > MAX_TABLE_BYTES:
            raise DatasetError(f"{file}: expected at most {MAX_TABLE_BYTES:,} bytes in memory, got {size:,}")
        names = set(described.schema.to_arrow_schema().names)
        if lacking := [name for name in columns if name not in names]:
            raise DatasetError(f"{file}: expected the columns {columns}, but {lacking} are missing")
        rows = None if only is None else [(only[0], "=", only[1])]
        found = pq.read_table(file, columns=columns, filters=rows, partitioning=None, use_threads=False)
        if found.num_rows > most:
            raise DatasetError(f"{file}: expected at most {most:,} rows, got {found.num_rows:,}")
    return found
