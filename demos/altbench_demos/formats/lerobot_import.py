"""Import of LeRobotDataset v3.0 that holds the simulator's states, as our export does."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from altbench.api import (
    DatasetError,
    Demonstration,
    EpisodeUnusable,
    Float64,
    ImportOptions,
    Recording,
    StateViewer,
    UInt8,
    hdf5,
    recognised_by,
)
from altbench_demos.formats import lerobot_film, lerobot_layout, viewing
from altbench_demos.formats.lerobot_layout import ACTION, IMAGES, POSE, SIM_STATE, STATE, Place
from altbench_demos.formats.lerobot_meta import MAX_FRAMES, Header, read_header, read_info, recognise, table

SAME_PLACE = 0.01
"""How far (m) a recorded gripper may be from ours. Farther means another scene."""


@recognised_by(recognise)
def read_lerobot(path: Path, viewer: StateViewer, options: ImportOptions) -> Recording:
    """Read the folder of a data set: an `altbench.api.Importer`."""
    viewing.check_no_filter(path, options.filter, "LeRobot")
    info = read_info(path)
    header = read_header(path, info, viewer, options)
    names = tuple(f"episode {row['episode_index']}" for row in header.episodes)
    unusable: dict[str, str] = {}
    made = viewing.usable(names, partial(_demonstration, header, viewer), unusable)
    made_with = {"recorded with": f"LeRobot {info['codebase_version']}"}
    return Recording(header.mode, header.image_size, len(names), made, made_with, names, unusable)


def _demonstration(header: Header, viewer: StateViewer, index: int) -> Demonstration:
    row, where = header.episodes[index], f"{header.folder}: episode {index}"
    states, actions, agent_pos, fixed, pictures = _numbers(header, viewer, row, where)
    viewing.check_frequency(states, viewer.info, where)
    views = viewing.look_along(viewer, states, where, fixed)
    frames = len(views)
    _check_gripper(where, agent_pos[:frames], np.stack([view.agent_pos for view in views]))
    pixels = None if header.drawn else pictures or _films(header, viewer, row)
    made = viewing.demonstration(
        viewer,
        index,
        views=views,
        states=states[:frames],
        actions=actions[:frames].astype(np.float32),
        control_mode=header.mode,
        success=views[-1].success,
        pixels=pixels and {camera: images[:frames] for camera, images in pixels.items()},
        image_size=header.image_size,
    )
    # No state follows the last action, so it is simulated.
    return replace(made, success=made.success or viewing.solved_by_last_action(viewer, made))


def _check_gripper(where: str, found: Float64, ours: NDArray[np.float32]) -> None:
    """Raise DatasetError if the recorded gripper is elsewhere than the states have it."""
    off = float(np.abs(found[:, :3] - ours[:, :3]).max())
    if off > SAME_PLACE:
        raise DatasetError(f"{where}: expected {STATE} as in its states, got a gripper {off:.3f} m from there")


def _numbers(
    header: Header, viewer: StateViewer, row: Mapping[str, Any], where: str
) -> tuple[Float64, Float64, Float64, Float64 | None, dict[str, UInt8]]:
    """Return states (T, Ds), actions (T, Da), `agent_pos` (T, Dp), the fixed pose (P,) and images in the table."""
    place = Place(row["data/chunk_index"], row["data/file_index"])
    task, fixed = viewer.info, bool(viewer.native.fixed_bodies)
    inside = [] if header.drawn or header.film else [f"{IMAGES}{camera}" for camera in task.cameras]
    columns = [SIM_STATE, ACTION, STATE, *([POSE] if fixed else []), "frame_index", *inside]
    file = header.folder / place.path(lerobot_layout.DATA)
    found = table(file, columns, MAX_FRAMES, ("episode_index", row["episode_index"]))
    if found.num_rows != row["length"] or found["frame_index"].to_pylist() != list(range(row["length"])):
        raise DatasetError(f"{where}: expected {row['length']} frames in order, got {found.num_rows} in {file}")
    states = _matrix(where, found, SIM_STATE, viewer.native.state_dim)
    actions = _matrix(where, found, ACTION, task.action_dim(header.mode))
    agent_pos = _matrix(where, found, STATE, task.agent_pos_dim)
    pose = _matrix(where, found, POSE, len(task.pose_names))[0] if fixed else None
    cells = {camera: found[f"{IMAGES}{camera}"].to_pylist() for camera in task.cameras if inside}
    pictures = {camera: _pictures(f"{where}: {camera}", each, header.image_size) for camera, each in cells.items()}
    return states, actions, agent_pos, pose, pictures


def _matrix(where: str, found: pa.Table, name: str, width: int) -> Float64:
    """Return the column `name` as float64 (T, width), all finite."""
    rows = found[name].to_pylist()
    try:
        values = np.array(rows, dtype=np.float64).reshape(len(rows), -1)
    except (TypeError, ValueError):
        raise DatasetError(f"{where}: expected numbers as {name}, got {str(rows[:1])[:120]}") from None
    if values.shape[1] != width:
        raise DatasetError(f"{where}: expected {width} numbers a frame as {name}, got {values.shape[1]}")
    if not np.isfinite(values).all():
        raise EpisodeUnusable(f"{where}: {name}: expected finite values, got NaN or infinity")
    return values


def _pictures(where: str, cells: Sequence[Any], size: tuple[int, int]) -> UInt8:
    """Return the PNG or JPEG in `cells` as images (T, H, W, 3)."""
    return np.stack([_picture(f"{where}, frame {t}", cell, size) for t, cell in enumerate(cells)])


def _picture(where: str, cell: Any, size: tuple[int, int]) -> UInt8:
    content = cell.get("bytes") if isinstance(cell, dict) else None
    if not isinstance(content, bytes):
        raise DatasetError(f"{where}: expected the bytes of an image, got {str(cell)[:80]}")
    with hdf5.guarded(Path(where)), Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as opened:
        # Before a pixel is decoded, since the size is what is reserved for it.
        if opened.size != size[::-1] or opened.mode != "RGB":
            raise DatasetError(f"{where}: expected RGB of {size}, got {opened.mode} of {opened.size[::-1]}")
        return np.asarray(opened, dtype=np.uint8)


def _films(header: Header, viewer: StateViewer, row: Mapping[str, Any]) -> dict[str, UInt8]:
    found = {}
    for camera in viewer.info.cameras:
        words = f"videos/{IMAGES}{camera}"
        place = Place(row[f"{words}/chunk_index"], row[f"{words}/file_index"])
        times = row[f"{words}/from_timestamp"] + np.arange(row["length"]) / header.fps
        file = header.folder / place.path(lerobot_layout.VIDEO, camera)
        found[camera] = lerobot_film.read(file, header.image_size, times.tolist(), header.fps)
    return found
