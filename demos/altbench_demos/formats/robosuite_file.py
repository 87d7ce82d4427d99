"""Import of robosuite's own collection format.

A file has `data/demo_i/{states,actions}` and the model of the states. States recorded
with an older robosuite are mapped joint by joint. Their actions need not lead to the
same states in the present physics. So pose actions are recovered from the states: the
target of a frame is the grip site's pose in the next frame, and the gripper follows the
recorded action. The last recorded state has no next one, so it only decides about
success. Source: robosuite, scripts/collect_human_demonstrations.py: `states[t]` is the
state in which `actions[t]` was taken.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from altbench.api import ControlMode, DatasetError, Demonstration, Float64, ImportOptions, Recording, StateViewer, hdf5
from altbench_demos.formats import controllers, fixed_bodies, foreign_hdf5, mjcf, viewing

MAX_MODEL_BYTES = 16 << 20
"""Bytes of a model's file, at most. It is read whole."""
MAX_NAME = 100
"""Characters of a model file's name, at most."""


def read_robosuite(path: Path, viewer: StateViewer, options: ImportOptions) -> Recording:
    """Read a file of robosuite's format: an `altbench.api.Importer`.

    `options.control_mode` None or "ee_pose": actions recovered from the states.
    "ee_delta": the recorded actions. Images are always drawn from the states.
    """
    with foreign_hdf5.reading(path) as file:
        data = hdf5.group(file, "data")
        found = foreign_hdf5.text(data, "env")
        if found.removeprefix("MG_") != viewer.native.env_name:
            raise DatasetError(
                f"{path}: expected demonstrations of robosuite's {viewer.native.env_name}, got {found!r}"
            )
        _check_info(path, data, viewer, options)
        names = foreign_hdf5.numbered(data, "demo_")
        version = foreign_hdf5.optional_text(data, "repository_version")[:32] or "unknown"
    mode: ControlMode = options.control_mode or "ee_pose"
    size = options.image_size or viewing.DEFAULT_IMAGE_SIZE
    made = (_demonstration(path, name, i, viewer, mode, size, options) for i, name in enumerate(names))
    return Recording(mode, size, len(names), made, {"recorded with": f"robosuite {version}"})


def _check_info(path: Path, data: h5py.Group, viewer: StateViewer, options: ImportOptions) -> None:
    where = f"{path}: env_info"
    info = hdf5.json_object(where, foreign_hdf5.text(data, "env_info"))
    robots = [info["robots"]] if isinstance(info.get("robots"), str) else info.get("robots", [])
    if robots != list(viewer.native.robots):
        raise DatasetError(f"{where}: expected robots {list(viewer.native.robots)}, got {robots!r}"[:300])
    frequency = info.get("control_freq", viewer.info.control_hz)
    if frequency != viewer.info.control_hz:
        raise DatasetError(f"{where}: expected control at {viewer.info.control_hz:g} Hz, got {frequency!r}"[:300])
    if options.control_mode == "ee_delta":
        mode = controllers.recorded_mode(info.get("controller_configs"), viewer.info, where)
        if mode != "ee_delta":
            raise DatasetError(f"{where}: expected delta actions for --control-mode ee_delta, got {mode} actions")


def _demonstration(
    path: Path,
    name: str,
    index: int,
    viewer: StateViewer,
    mode: ControlMode,
    size: tuple[int, int],
    options: ImportOptions,
) -> Demonstration:
    where = f"{path}: {name}"
    states, actions, fixed = _episode(path, name, viewer, options)
    views = viewing.look_along(viewer, states, where, fixed)
    frames = viewing.until_success(views, len(states) - 1)
    if mode == "ee_pose":
        reached = np.stack([view.agent_pos for view in views[1 : frames + 1]])
        chosen = controllers.pose_actions_from_poses(reached, actions[:frames])
    else:
        chosen = actions[:frames].astype(np.float32)
    return viewing.demonstration(
        viewer,
        index,
        views=views[:frames],
        states=states[:frames],
        actions=chosen,
        control_mode=mode,
        success=views[-1].success,
        pixels=None,
        image_size=size,
    )


def _episode(
    path: Path, name: str, viewer: StateViewer, options: ImportOptions
) -> tuple[Float64, Float64, Float64 | None]:
    """Read one episode's states (T, Ds), actions (T, 7 per arm) and fixed pose (P,).

    The states are mapped to the present model. The pose is that of fixed bodies.
    """
    with foreign_hdf5.reading(path) as file:
        demo = hdf5.group(hdf5.group(file, "data"), name)
        states = foreign_hdf5.numbers(demo, "states", foreign_hdf5.width(demo, "states"))
        actions = foreign_hdf5.numbers(demo, "actions", viewer.info.action_dim("ee_delta"))
        model = foreign_hdf5.optional_text(demo, "model_file")
    where = f"{path}: {name}"
    viewing.check_equal_length(where, states=len(states), actions=len(actions))
    if len(states) < 2:
        raise DatasetError(f"{where}: expected at least 2 frames, got {len(states)}")
    xml = model_xml(path, model, options.model)
    states = mjcf.map_states(states, xml, viewer.native, where)
    viewing.check_frequency(states, viewer.info, where)
    return states, actions, fixed_bodies.pose(xml, viewer.native, where)


def model_xml(path: Path, model: str, given: Path | None) -> str:
    """Return the MJCF of the states in `path`; "" if the file has none.

    It is the file `given`, or the text `model`, or the file beside `path` named so.
    """
    if given is None and model.lstrip().startswith("<"):
        return model
    if given is None and not model:
        return ""
    # The name comes from the file: with a folder in it, it could name any of the user's
    # files.
    if given is None and (Path(model).name != model or len(model) > MAX_NAME):
        raise DatasetError(
            f"{path}: expected a model or the name of a file beside it in model_file, got {model[:80]!r}"
        )
    candidates = [given] if given else [path.parent / model, path.parent / "models" / model, path.with_suffix(".xml")]
    found = next((each for each in candidates if each.is_file()), None)
    if found is None:
        looked = ", ".join(map(str, candidates))
        raise DatasetError(f"{path}: its model {model!r} is missing (looked for {looked}); name it with --model FILE")
    if found.stat().st_size > MAX_MODEL_BYTES:
        raise DatasetError(
            f"{found}: expected a model of at most {MAX_MODEL_BYTES:,} bytes, got {found.stat().st_size:,}"
        )
    try:
        return found.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{found}: cannot be read: {error}") from error
