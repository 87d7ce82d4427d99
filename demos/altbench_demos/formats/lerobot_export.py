"""Export to LeRobotDataset v3.0, the format of LeRobot 0.4 to 0.6.

Actions, `agent_pos` and states are exact. Images are a film of each camera, which loses
a little, or PNG in the table, which loses nothing.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from altbench.api import ConfigError, DatasetError, Demonstration, Recording, StateViewer, UInt8, replacing
from altbench_demos.formats import lerobot_film, lerobot_layout, lerobot_stats
from altbench_demos.formats.lerobot_layout import ACTION, DONE, IMAGES, POSE, REWARD, SIM_STATE, STATE, SUCCESS, Place

MEGABYTE = 1 << 20
ARROW = {"float32": pa.float32(), "float64": pa.float64(), "int64": pa.int64(), "bool": pa.bool_()}


def write_lerobot(recording: Recording, viewer: StateViewer, out: str, *, lossless: bool = False) -> str:
    """Write the folder `out`: an `altbench.api.Exporter`.

    `lossless`: images as PNG in the table instead of films.
    """
    folder = Path(out)
    if folder.exists():
        raise DatasetError(f"{folder}: exists; choose another folder")
    task = viewer.info
    if task.control_hz != round(task.control_hz):
        raise ConfigError(f"{task.name}: LeRobot's data sets have whole frames per second, got {task.control_hz}")
    try:
        with replacing(folder) as temporary:
            temporary.mkdir()
            total = _Writer(temporary, recording, viewer, lossless).write()
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be written: {error.strerror or error}") from error
    name = folder.resolve().name
    reader = f"LeRobotDataset({name!r}, root={str(folder)!r})"
    return f"{folder}: {recording.episodes} episodes, {total} frames; read them with {reader}"


class _Writer:
    """A data set in the making, an episode at a time."""

    def __init__(self, folder: Path, recording: Recording, viewer: StateViewer, lossless: bool) -> None:
        self.folder, self.recording, self.task, self.lossless = folder, recording, viewer.info, lossless
        self.robots, self.fps = viewer.native.robots, round(viewer.info.control_hz)
        self.features: dict[str, dict[str, Any]] = {}
        self.rows: list[dict[str, Any]] = []
        self.stats: list[dict[str, lerobot_stats.Stats]] = []
        self.frames = 0

    def write(self) -> int:
        """Write everything; return how many frames there are."""
        with ExitStack() as open_files:
            tables = open_files.enter_context(closing(_Tables(self.folder)))
            cameras = () if self.lossless else self.task.cameras
            films = {
                camera: open_files.enter_context(
                    closing(_Films(self.folder, camera, self.recording.image_size, self.fps))
                )
                for camera in cameras
            }
            for number, demonstration in enumerate(self.recording.demonstrations):
                self._add(number, demonstration, tables, films)
        self._write_meta()
        return self.frames

    def _add(self, number: int, d: Demonstration, tables: _Tables, films: Mapping[str, _Films]) -> None:
        film = None if self.lossless else lerobot_film.INFO
        size = self.recording.image_size
        self.features = lerobot_layout.features(self.task, self.recording.control_mode, size, d.states.shape[1], film)
        columns = _columns(number, d, self.frames, self.fps)
        self.stats.append(
            {
                **{f"{IMAGES}{camera}": lerobot_stats.of_images(d.pixels[camera]) for camera in self.task.cameras},
                **{name: lerobot_stats.of_values(values) for name, values in columns.items()},
            }
        )
        placed = {
            f"videos/{IMAGES}{camera}/{what}": value
            for camera, each in films.items()
            for what, value in each.add(d.pixels[camera]).items()
        }
        pictures = {f"{IMAGES}{camera}": d.pixels[camera] for camera in self.task.cameras if self.lossless}
        place = tables.add(_table(columns, self.features, pictures))
        self.rows.append(
            {
                "episode_index": number,
                "tasks": [self.task.instruction or self.task.name],
                "length": len(d),
                "data/chunk_index": place.chunk,
                "data/file_index": place.file,
                "dataset_from_index": self.frames,
                "dataset_to_index": self.frames + len(d),
                **placed,
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
            }
        )
        self.frames += len(d)

    def _write_meta(self) -> None:
        whole = {name: lerobot_stats.together([each[name] for each in self.stats]) for name in self.stats[0]}
        _write_json(self.folder / lerobot_layout.STATS, lerobot_stats.as_json(whole))
        _write_json(self.folder / lerobot_layout.INFO, self._info())
        _write_json(self.folder / lerobot_layout.OURS, self._ours())
        tasks = pd.DataFrame(
            {"task_index": [0]}, index=pd.Index([self.task.instruction or self.task.name], name="task")
        )
        tasks.to_parquet(self.folder / lerobot_layout.TASKS)
        rows = [
            row
            | {
                f"stats/{key}/{name}": value
                for key, found in lerobot_stats.as_json(stats).items()
                for name, value in found.items()
            }
            for row, stats in zip(self.rows, self.stats, strict=True)
        ]
        path = self.folder / Place().path(lerobot_layout.EPISODES)
        path.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows), path)

    def _info(self) -> dict[str, Any]:
        return {
            "codebase_version": lerobot_layout.VERSION,
            "robot_type": "_".join(self.robots).lower(),
            "total_episodes": len(self.rows),
            "total_frames": self.frames,
            "total_tasks": 1,
            "chunks_size": lerobot_layout.CHUNK_FILES,
            "data_files_size_in_mb": lerobot_layout.DATA_MEGABYTES,
            "video_files_size_in_mb": lerobot_layout.VIDEO_MEGABYTES,
            "fps": self.fps,
            "splits": {"train": f"0:{len(self.rows)}"},
            "data_path": lerobot_layout.DATA,
            "video_path": None if self.lossless else lerobot_layout.VIDEO,
            "features": self.features,
        }

    def _ours(self) -> dict[str, Any]:
        return {
            "task": self.task.name,
            "task_version": self.task.version,
            "env_id": self.task.env_id,
            "control_mode": self.recording.control_mode,
            "versions": dict(self.recording.made_with),
        }


class _Tables:
    """The parquet files of all frames, one row group an episode."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.place = folder, Place()
        self._writer: Any = None

    def add(self, table: pa.Table) -> Place:
        """Write an episode; return the file that it is in."""
        path = self.folder / self.place.path(lerobot_layout.DATA)
        if self._writer is not None and path.stat().st_size > lerobot_layout.DATA_MEGABYTES * MEGABYTE:
            self.close()
            self.place = self.place.next()
            path = self.folder / self.place.path(lerobot_layout.DATA)
        if self._writer is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(path, table.schema, compression="snappy")
        self._writer.write_table(table)
        return self.place

    def close(self) -> None:
        """End the open file."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None


class _Films:
    """The films of one camera."""

    def __init__(self, folder: Path, camera: str, size: tuple[int, int], fps: int) -> None:
        self.folder, self.camera, self.size, self.fps = folder, camera, size, fps
        self.place = Place()
        self._film: lerobot_film.FilmWriter | None = None

    def add(self, images: UInt8) -> dict[str, float]:
        """Append an episode (T, H, W, 3); return where it stands, in LeRobot's words."""
        if self._film is not None and self._film.bytes > lerobot_layout.VIDEO_MEGABYTES * MEGABYTE:
            self.close()
            self.place = self.place.next()
        if self._film is None:
            path = self.folder / self.place.path(lerobot_layout.VIDEO, self.camera)
            self._film = lerobot_film.FilmWriter(path, self.size, self.fps)
        first = self._film.frames
        self._film.add(images)
        times = {"from_timestamp": first / self.fps, "to_timestamp": self._film.frames / self.fps}
        return {"chunk_index": self.place.chunk, "file_index": self.place.file, **times}

    def close(self) -> None:
        """End the open film."""
        if self._film is not None:
            self._film.close()
        self._film = None


def _columns(number: int, d: Demonstration, first: int, fps: int) -> dict[str, np.ndarray[Any, Any]]:
    """Return an episode's columns (T, ...) but for its images; `first`: its first frame."""
    frames = np.arange(len(d))
    last = frames == len(d) - 1
    return {
        STATE: d.agent_pos,
        ACTION: d.actions,
        REWARD: (last & d.success).astype(np.float32),
        DONE: last,
        SUCCESS: last & d.success,
        SIM_STATE: d.states,
        POSE: np.tile(d.initial_state.object_pose, (len(d), 1)),
        "timestamp": (frames / fps).astype(np.float32),
        "frame_index": frames,
        "episode_index": np.full(len(d), number),
        "index": first + frames,
        "task_index": np.zeros(len(d), dtype=np.int64),
    }


def _table(
    columns: Mapping[str, np.ndarray[Any, Any]],
    features: Mapping[str, Mapping[str, Any]],
    pictures: Mapping[str, UInt8],
) -> pa.Table:
    """Return an episode's rows; `pictures`: name -> images (T, H, W, 3) to keep as PNG."""
    made: dict[str, pa.Array] = {}
    for name, images in pictures.items():
        cells = [{"bytes": _png(picture), "path": None} for picture in images]
        made[name] = pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    for name, values in columns.items():
        flat = pa.array(np.ascontiguousarray(values).reshape(-1), ARROW[features[name]["dtype"]])
        length = features[name]["shape"][0]
        # LeRobot keeps vectors of one number as numbers.
        made[name] = flat if length == 1 else pa.FixedSizeListArray.from_arrays(flat, length)
    return pa.table(made)


def _png(picture: UInt8) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=4) + "\n", encoding="utf-8")
