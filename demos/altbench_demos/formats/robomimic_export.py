"""Export to robomimic's HDF5: `data/demo_i/{obs,actions,states}`, described by `env_args`."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from altbench.api import DatasetError, Demonstration, Float64, Recording, StateViewer, hdf5, replacing
from altbench_demos.formats import controllers, fixed_bodies
from altbench_demos.formats.robomimic_file import ROBOSUITE_TYPE


def write_robomimic(recording: Recording, viewer: StateViewer, out: str) -> str:
    """Write the HDF5 file `out`: an `altbench.api.Exporter`.

    It has robosuite's names, absolute or delta commands, and the model.
    """
    path = Path(out)
    if path.exists():
        raise DatasetError(f"{path}: exists; choose another file")
    try:
        with replacing(path) as temporary, hdf5.created(temporary) as file:
            data = file.create_group("data")
            total = sum(_write(data, d, viewer) for d in recording.demonstrations)
            data.attrs["total"] = np.int64(total)
            data.attrs["env_args"] = json.dumps(_env_args(recording, viewer), sort_keys=True)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be written: {error.strerror or error}") from error
    return f"{path}: {recording.episodes} demonstrations, {total} frames; robomimic reads it with --dataset {path}"


def _write(data: h5py.Group, d: Demonstration, viewer: StateViewer) -> int:
    demo, last = data.create_group(f"demo_{d.index}"), np.arange(len(d)) == len(d) - 1
    demo.attrs["num_samples"] = np.int64(len(d))
    if viewer.native.xml:
        demo.attrs["model_file"] = fixed_bodies.placed(viewer.native, d.initial_state.object_pose)
    demo["actions"] = controllers.native_from_pose_actions(d.actions) if d.control_mode == "ee_pose" else d.actions
    demo["states"], demo["dones"] = d.states, last.astype(np.int64)
    demo["rewards"] = (last & d.success).astype(np.float64)
    for camera, images in d.pixels.items():
        name = f"obs/{viewer.native.cameras[camera]}_image"
        demo.create_dataset(name, data=images, chunks=(min(8, len(images)), *images.shape[1:]), compression="gzip")
    for name, values in _low_dimensional(d, viewer.info.arms).items():
        demo[f"obs/{name}"] = values
    return len(d)


def _low_dimensional(d: Demonstration, arms: int) -> dict[str, Float64]:
    """Return the parts of `agent_pos` under robosuite's names.

    robosuite has two orientations (xyzw): of the grip site, and of the hand's body.
    """
    found: dict[str, Float64] = {}
    for number, seen in enumerate(np.split(d.agent_pos.astype(np.float64), arms, axis=1)):
        found[f"robot{number}_eef_pos"] = seen[:, :3]
        found[f"robot{number}_eef_quat_site"], found[f"robot{number}_eef_quat"] = _quaternions(seen[:, 3:9])
        found[f"robot{number}_gripper_qpos"] = seen[:, 9:]
    if d.environment_state is not None:
        found["environment_state"] = d.environment_state.astype(np.float64)
    return found


def _quaternions(rot6d: Float64) -> tuple[Float64, Float64]:
    """Return an arm's quaternions (T, 4) of the grip site and the hand's body.

    Their signs are robosuite's. It computes the site's from a matrix, with w >= 0. The
    body's is MuJoCo's, which never jumps; an episode begins with it near (1, 0, 0, 0),
    or a turn of the base away from it.
    """
    from scipy.spatial.transform import Rotation

    site = Rotation.from_matrix(controllers.matrices(rot6d))
    hand: Float64 = (site * Rotation.from_euler("z", 90, degrees=True)).as_quat()
    flips = np.sum(hand[1:] * hand[:-1], axis=1) < 0
    signs = np.cumprod([1.0 if hand[0, 0] >= 0 else -1.0, *np.where(flips, -1.0, 1.0)])
    return site.as_quat(canonical=True), signs[:, None] * hand


def _env_args(recording: Recording, viewer: StateViewer) -> dict[str, Any]:
    height, width = recording.image_size
    kwargs = {
        "robots": list(viewer.native.robots),
        "controller_configs": controllers.native_config(recording.control_mode, viewer.native),
        "control_freq": viewer.info.control_hz,
        "camera_names": [viewer.native.cameras[camera] for camera in viewer.info.cameras],
        "camera_heights": height,
        "camera_widths": width,
        "has_renderer": False,
        "has_offscreen_renderer": True,
        "use_camera_obs": True,
        "ignore_done": True,
        "reward_shaping": False,
    }
    return {
        "env_name": viewer.native.env_name,
        "type": ROBOSUITE_TYPE,
        "env_version": version("robosuite"),
        "env_kwargs": kwargs,
    }
