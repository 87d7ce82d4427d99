"""The contents of a demonstrations file: settings, layout, checks and checksum.

    data              attributes: env_args (robomimic's), total (frames),
                      altbench (`DatasetMeta`), checksum
    data/demo_0       attributes: num_samples, seed, grid_index, success, object_pose,
                      initial_sim_state
    data/demo_0/obs   agentview_image, wrist_image, ..., agent_pos,
                      environment_state (if recorded)
    data/demo_0/{actions,states,rewards,dones}

This is robomimic's layout. robomimic needs `rewards` and `dones`; they follow from
`success`, so we do not read them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from importlib.metadata import version
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from altbench.core import registry
from altbench.core.demonstration import Demonstration
from altbench.core.errors import DatasetError
from altbench.core.spec import Spec
from altbench.core.task import InitialState, TaskInfo
from altbench.core.types import ControlMode, RenderProfile

GYMNASIUM_ENV_TYPE = 2
"""robomimic's number for Gymnasium environments, `EnvType.GYM_TYPE`."""
MAX_FRAMES = 1_000_000
"""Frames of one demonstration, at most: 14 hours at 20 Hz. More is a damaged file."""

UNKNOWN_PROFILE = "unknown"
"""The render profile of images that are like none of ours."""

Count = Annotated[int, Field(ge=0, le=10_000)]
Pixels = Annotated[int, Field(ge=1, le=4096)]
Camera = Annotated[str, Field(pattern=r"^\w{1,64}$")]
Arrays = dict[str, NDArray[Any]]
Layout = dict[str, tuple[type[np.generic], tuple[int, ...]]]


class DatasetMeta(Spec):
    """The settings that all demonstrations of a file share, and how they were made.

    `action_dim`, `agent_pos_dim`, `state_dim` and `environment_state_dim` are the
    lengths of `actions[t]`, `agent_pos[t]`, `states[t]` and `environment_state[t]` (0:
    not recorded). `image_size` is (H, W). `render_profile`: "unknown" for images of
    another renderer. `versions` names the software that fixed the
    physics and the images.
    """

    format_version: Literal[1] = 1
    task: str
    task_version: int
    env_id: str
    control_mode: ControlMode = "ee_pose"
    control_hz: float = Field(gt=0, allow_inf_nan=False)
    image_size: tuple[Pixels, Pixels]
    render_profile: RenderProfile | Literal["unknown"] = "fast"
    cameras: tuple[Camera, ...] = Field(max_length=16)
    pose_names: tuple[str, ...] = Field(max_length=64)
    action_dim: Count
    agent_pos_dim: Count
    state_dim: Count
    environment_state_dim: Count = 0
    placement: Literal["grid", "uniform"]
    grid_size: Annotated[int, Field(ge=1, le=1_000_000)]
    root_seed: Annotated[int, Field(ge=0)]
    versions: dict[str, str]

    @property
    def env_args(self) -> str:
        """robomimic's description of the environment, as JSON."""
        kwargs = {
            "obs_type": "pixels",
            "control_mode": self.control_mode,
            "image_size": list(self.image_size),
            "render_profile": self.render_profile,
        }
        return json.dumps({"env_name": self.env_id, "type": GYMNASIUM_ENV_TYPE, "env_kwargs": kwargs}, sort_keys=True)

    @property
    def drawn_profile(self) -> RenderProfile:
        """The render profile in which further images are drawn."""
        return "fast" if self.render_profile == "unknown" else self.render_profile

    @property
    def frame_bytes(self) -> int:
        """The size of one frame's images, in bytes."""
        height, width = self.image_size
        return len(self.cameras) * height * width * 3

    def canonical(self) -> str:
        """Return JSON with sorted keys: equal settings give equal text."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)


def task_settings(info: TaskInfo, control_mode: ControlMode) -> dict[str, Any]:
    """Return the settings that follow from a file's task and control mode."""
    return {
        "task": info.name,
        "task_version": info.version,
        "env_id": info.env_id,
        "control_mode": control_mode,
        "control_hz": info.control_hz,
        "cameras": info.cameras,
        "pose_names": info.pose_names,
        "action_dim": info.action_dim(control_mode),
        "agent_pos_dim": info.agent_pos_dim,
        "grid_size": info.grid_size,
    }


def physics_versions() -> dict[str, str]:
    """Return the versions of the software that fixes the physics and the images."""
    return {name: version(name) for name in ("mujoco", "robosuite")}


def code_versions(task: str, own_expert: bool) -> dict[str, str]:
    """Return the digests of a third party's task and of its expert; empty for built-in ones.

    `own_expert`: whether the task's own expert demonstrates.
    """
    found = {"task source": registry.source("task", task)}
    if own_expert and task in registry.table("expert"):
        found["expert source"] = registry.source("expert", task)
    return {what: digest for what, digest in found.items() if digest}


def arrays(demonstration: Demonstration) -> Arrays:
    """Return the arrays to store, each of T frames, by their path below `demo_i`."""
    d = demonstration
    found: Arrays = {f"obs/{camera}_image": d.pixels[camera] for camera in sorted(d.pixels)}
    found |= {"obs/agent_pos": d.agent_pos, "actions": d.actions, "states": d.states}
    return found if d.environment_state is None else {**found, "obs/environment_state": d.environment_state}


def attributes(demonstration: Demonstration) -> Arrays:
    """Return the attributes of `demo_i` to store."""
    d, start = demonstration, demonstration.initial_state
    return {
        "num_samples": np.array(len(d), np.int64),
        "seed": np.array(d.seed, np.int64),
        "grid_index": np.array(d.grid_index, np.int64),
        "success": np.array(d.success, np.int64),
        "object_pose": start.object_pose,
        "initial_sim_state": start.sim_state,
    }


def array_layout(meta: DatasetMeta, frames: int) -> Layout:
    """Return the types and shapes that `arrays` must have."""
    found: Layout = {f"obs/{camera}_image": (np.uint8, (frames, *meta.image_size, 3)) for camera in meta.cameras}
    found["obs/agent_pos"] = (np.float32, (frames, meta.agent_pos_dim))
    found["actions"] = (np.float32, (frames, meta.action_dim))
    found["states"] = (np.float64, (frames, meta.state_dim))
    if meta.environment_state_dim:
        found["obs/environment_state"] = (np.float32, (frames, meta.environment_state_dim))
    return found


def attribute_layout(meta: DatasetMeta) -> Layout:
    """Return the types and shapes that `attributes` must have."""
    found: Layout = dict.fromkeys(("num_samples", "seed", "grid_index", "success"), (np.int64, ()))
    found["object_pose"] = (np.float64, (len(meta.pose_names),))
    found["initial_sim_state"] = (np.float64, (meta.state_dim,))
    return found


def demonstration(index: int, stored: Arrays, meta: DatasetMeta) -> Demonstration:
    """Make demonstration `index` from its `stored` arrays and attributes.

    DatasetError if they do not agree with `meta`.
    """
    made = Demonstration(
        index=index,
        pixels={camera: stored[f"obs/{camera}_image"] for camera in meta.cameras},
        agent_pos=stored["obs/agent_pos"],
        actions=stored["actions"],
        states=stored["states"],
        initial_state=InitialState(stored["initial_sim_state"], stored["object_pose"]),
        seed=int(stored["seed"]),
        grid_index=int(stored["grid_index"]),
        success=bool(stored["success"]),
        control_mode=meta.control_mode,
        environment_state=stored.get("obs/environment_state"),
    )
    check(made, meta)
    return made


def check(demonstration: Demonstration, meta: DatasetMeta) -> None:
    """Raise DatasetError unless all values are finite, of `meta`'s types and shapes."""
    d, where = demonstration, f"demonstration {demonstration.index}"
    if d.control_mode != meta.control_mode:
        raise DatasetError(f"{where}: expected control mode {meta.control_mode}, got {d.control_mode}")
    if not -1 <= d.grid_index < meta.grid_size:
        raise DatasetError(f"{where}: expected a grid index from -1 to {meta.grid_size - 1}, got {d.grid_index}")
    if not 1 <= len(d) <= MAX_FRAMES:
        raise DatasetError(f"{where}: expected 1 to {MAX_FRAMES:,} frames, got {len(d):,}")
    found = {**arrays(d), **attributes(d)}
    layout = {**array_layout(meta, len(d)), **attribute_layout(meta)}
    if found.keys() != layout.keys():
        raise DatasetError(f"{where}: expected {sorted(layout)}, got {sorted(found)}")
    for name, (dtype, shape) in layout.items():
        _check_array(f"{where}: {name}", found[name], dtype, shape)


def _check_array(where: str, array: NDArray[Any], dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise DatasetError(f"{where}: expected {np.dtype(dtype)} {shape}, got {array.dtype} {array.shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DatasetError(f"{where}: expected finite values, got NaN or infinity")


def digest(meta: DatasetMeta, demonstrations: Iterable[Demonstration]) -> str:
    """Compute the SHA-256 of `meta` and of every array: name, type, shape and bytes.

    The order is fixed. `demonstrations` may be a subset of a file's.
    """
    # Published runs name this checksum: no byte that goes into it may change.
    total = hashlib.sha256(meta.canonical().encode())
    for d in demonstrations:
        stored = {"index": np.array(d.index, np.int64), **attributes(d), **arrays(d)}
        for name, array in stored.items():
            total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()
