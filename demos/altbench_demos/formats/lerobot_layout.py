"""The layout of LeRobotDataset v3.0: its files, and what our features are called.

Source: lerobot 0.6.1, `datasets/utils.py`, `datasets/feature_utils.py`. A data set is a
folder: tables in parquet, one film per camera or images in the tables, and `meta/`.
LeRobot learns from features whose names begin with `observation` or `action`, and leaves
others alone: so the simulator's states have a name of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from altbench.api import ControlMode, TaskInfo

VERSION = "v3.0"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
OURS = "meta/altbench.json"
"""What LeRobot has no place for: task, control mode and versions. LeRobot ignores it."""
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
CHUNK_FILES = 1000
"""Files in a folder `chunk-...`, at most."""
DATA_MEGABYTES, VIDEO_MEGABYTES = 100, 200
"""Megabytes after which an episode begins a new file."""
STATE, ACTION = "observation.state", "action"
IMAGES = "observation.images."
SIM_STATE, POSE = "altbench.sim_state", "altbench.object_pose"
REWARD, DONE, SUCCESS = "next.reward", "next.done", "next.success"
COUNTERS = {"frame_index": "int64", "episode_index": "int64", "index": "int64", "task_index": "int64"}
POSE_PARTS = ("x", "y", "z", *(f"rot6d_{i}" for i in range(6)))
DELTA_PARTS = ("dx", "dy", "dz", "drx", "dry", "drz")


@dataclass(frozen=True)
class Place:
    """The numbers of a file: `chunk-CHUNK/file-FILE`."""

    chunk: int = 0
    file: int = 0

    def next(self) -> Place:
        """Return the place of the next file."""
        full = self.file == CHUNK_FILES - 1
        return Place(self.chunk + 1, 0) if full else Place(self.chunk, self.file + 1)

    def path(self, template: str, camera: str = "") -> str:
        """Return the file's path; `camera`: of a film's."""
        return template.format(chunk_index=self.chunk, file_index=self.file, video_key=f"{IMAGES}{camera}")


def state_names(task: TaskInfo) -> list[str]:
    """Return the names of `agent_pos`'s numbers, Dp of them."""
    return _per_arm(task.arms, (*POSE_PARTS, "finger_0", "finger_1"))


def action_names(task: TaskInfo, mode: ControlMode) -> list[str]:
    """Return the names of an action's numbers, Da of them."""
    return _per_arm(task.arms, (*(POSE_PARTS if mode == "ee_pose" else DELTA_PARTS), "gripper"))


def _per_arm(arms: int, parts: tuple[str, ...]) -> list[str]:
    if arms == 1:
        return list(parts)
    return [f"{arm}_{part}" for arm in ("right", "left")[:arms] for part in parts]


def vector(dtype: str, names: list[str] | None, length: int = 1) -> dict[str, Any]:
    """Return the feature of a vector; its length is that of `names` if these are given."""
    return {"dtype": dtype, "shape": [len(names) if names else length], "names": names}


def image(size: tuple[int, int], film: Mapping[str, Any] | None, fps: int) -> dict[str, Any]:
    """Return the feature of a camera: images in the table, or a `film` of this codec."""
    found = {"dtype": "image", "shape": [*size, 3], "names": ["height", "width", "channels"]}
    if film is None:
        return found
    info = {"video.height": size[0], "video.width": size[1], "video.fps": fps, "video.channels": 3}
    return {**found, "dtype": "video", "info": {**info, "is_depth_map": False, "has_audio": False, **film}}


def features(
    task: TaskInfo, mode: ControlMode, size: tuple[int, int], state_dim: int, film: Mapping[str, Any] | None
) -> dict[str, dict[str, Any]]:
    """Return all features of a data set of ours, by name.

    `size` (H, W) of the images. `state_dim`: Ds. `film`: what `info.json` says of the
    codec; None: images are in the table.
    """
    fps = round(task.control_hz)
    return {
        **{f"{IMAGES}{camera}": image(size, film, fps) for camera in task.cameras},
        STATE: vector("float32", state_names(task)),
        ACTION: vector("float32", action_names(task, mode)),
        REWARD: vector("float32", None),
        DONE: vector("bool", None),
        SUCCESS: vector("bool", None),
        SIM_STATE: vector("float64", None, state_dim),
        POSE: vector("float64", list(task.pose_names)),
        "timestamp": vector("float32", None),
        **{name: vector(dtype, None) for name, dtype in COUNTERS.items()},
    }
