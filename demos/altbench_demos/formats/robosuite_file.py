"""Import of robosuite's own collection format.

A file has `data/demo_i/{states,actions}` and the model of the states. States recorded
with an older robosuite are mapped joint by joint. If the recorded actions explain the
recorded motion in the present physics, their targets are taken. If not, or if they are
another controller's, targets are recovered from the states, and the gripper follows the
recorded action. The last recorded state has no next one, so it only decides about
success. Source: robosuite, scripts/collect_human_demonstrations.py: `states[t]` is the
state in which `actions[t]` was taken.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from altbench.api import (
    ControlMode,
    DatasetError,
    Demonstration,
    Float32,
    Float64,
    ImportOptions,
    Recording,
    StateViewer,
    View,
    check_actions,
    explains_motion,
    hdf5,
    recognised_by,
)
from altbench_demos.formats import controllers, deltas, fixed_bodies, foreign_hdf5, mjcf, recognition, viewing

MAX_MODEL_BYTES = 16 << 20
"""Bytes of a model's file, at most. It is read whole."""
MAX_NAME = 100
"""Characters of a model file's name, at most."""


@dataclass(frozen=True)
class _Reader:
    """How the episodes of a file are read.

    `recorded`: the control mode of its actions; None if it is not one of ours, so that
    targets are recovered from the states. `mode`: the one to write. `turn`: 1 if deltas
    turn as today, -1 if the other way.
    """

    path: Path
    viewer: StateViewer
    options: ImportOptions
    names: tuple[str, ...]
    recorded: ControlMode | None
    mode: ControlMode
    turn: int = 1

    @property
    def image_size(self) -> tuple[int, int]:
        """The size (H, W) of the images to draw."""
        return self.options.image_size or viewing.DEFAULT_IMAGE_SIZE

    def source(self) -> str:
        """Return where the actions come from, for the file's `versions`."""
        if self.recorded is None:
            return "recovered from the states"
        return "as recorded" if self.turn > 0 else "as recorded, turns reversed (robosuite 1.0)"


@recognised_by(recognition.robosuite)
def read_robosuite(path: Path, viewer: StateViewer, options: ImportOptions) -> Recording:
    """Read a file of robosuite's format: an `altbench.api.Importer`.

    `options.control_mode` None or "ee_pose": the recorded actions' targets if they
    explain the motion, else targets recovered from the states. "ee_delta": the recorded
    actions. Images are always drawn from the states.
    """
    viewing.check_no_filter(path, options.filter, "robosuite")
    with foreign_hdf5.reading(path) as file:
        data = hdf5.group(file, "data")
        found = foreign_hdf5.text(data, "env")
        if found.removeprefix("MG_") != viewer.native.env_name:
            raise DatasetError(
                f"{path}: expected demonstrations of robosuite's {viewer.native.env_name}, got {found!r}"
            )
        recorded = _check_info(path, data, viewer, options)
        names = tuple(foreign_hdf5.numbered(data, "demo_"))
        version = foreign_hdf5.optional_text(data, "repository_version")[:32] or "unknown"
    reader = _settled(_Reader(path, viewer, options, names, recorded, options.control_mode or "ee_pose"))
    unusable: dict[str, str] = {}
    made = viewing.usable(names, partial(_demonstration, reader), unusable)
    made_with = {"recorded with": f"robosuite {version}", "actions": reader.source()}
    return Recording(reader.mode, reader.image_size, len(names), made, made_with, names, unusable)


def _check_info(path: Path, data: h5py.Group, viewer: StateViewer, options: ImportOptions) -> ControlMode | None:
    """Return the control mode of the recorded actions; None if it is not one of ours."""
    where = f"{path}: env_info"
    info = hdf5.json_object(where, foreign_hdf5.text(data, "env_info"))
    viewing.check_robots(info.get("robots", []), viewer.native, where)
    frequency = info.get("control_freq", viewer.info.control_hz)
    if frequency != viewer.info.control_hz:
        raise DatasetError(f"{where}: expected control at {viewer.info.control_hz:g} Hz, got {frequency!r}"[:300])
    wanted = options.control_mode
    try:
        mode = controllers.recorded_mode(info.get("controller_configs"), viewer.info, where)
    except DatasetError:
        if wanted == "ee_delta":
            raise
        return None
    if wanted == "ee_delta" and mode != "ee_delta":
        raise DatasetError(f"{where}: expected delta actions for --control-mode ee_delta, got {mode} actions")
    # The deltas of two arms are in the frames of their bases, which are turned.
    return None if viewer.info.arms > 1 and wanted != mode else mode


def _settled(reader: _Reader) -> _Reader:
    """Return the reader with the convention of turns that the first episodes' states show.

    If the recorded actions do not explain the motion, targets are recovered; recorded
    deltas stay as they are, and the import refuses them.
    """
    if reader.recorded is None:
        return reader
    as_recorded = replace(reader, mode=reader.recorded)
    made = viewing.usable(reader.names[: deltas.SAMPLE], partial(_demonstration, as_recorded, drawn=False), {})
    sample = list(made)
    if reader.recorded == "ee_pose":
        return reader if explains_motion(reader.viewer, sample) else replace(reader, recorded=None)
    turn = deltas.turning(reader.viewer, sample)
    if turn:
        return replace(reader, turn=turn)
    return reader if reader.mode == "ee_delta" else replace(reader, recorded=None)


def _demonstration(reader: _Reader, index: int, drawn: bool = True) -> Demonstration:
    """Make demonstration `index`; without `drawn` it has no images."""
    viewer, name = reader.viewer, reader.names[index]
    where = f"{reader.path}: {name}"
    states, actions, fixed = _episode(reader.path, name, viewer, reader.options)
    views = viewing.look_along(viewer, states, where, fixed)
    frames = viewing.until_success(views, len(states) - 1)
    made = viewing.demonstration(
        viewer,
        index,
        views=views[:frames],
        states=states[:frames],
        actions=_actions(reader, where, actions[:frames], views[:frames]),
        control_mode=reader.mode,
        success=views[-1].success,
        pixels=None if drawn else {},
        image_size=reader.image_size,
    )
    return made if reader.recorded else replace(made, actions=deltas.recovered(viewer, made, views))


def _actions(reader: _Reader, where: str, actions: Float64, views: list[View]) -> Float32:
    """Return the actions (T, Da) in the reader's mode.

    Those to be recovered have the present pose and the recorded grippers.
    """
    seen = np.stack([view.agent_pos for view in views])
    if reader.recorded is None:
        return controllers.pose_actions_from_poses(seen, actions)
    if reader.recorded == "ee_pose":
        return controllers.pose_actions_from_native(actions)
    turned = actions if reader.turn > 0 else controllers.reversed_turns(actions)
    check_actions(where, turned, seen, reader.viewer.info, "ee_delta")
    if reader.mode == "ee_delta":
        return turned.astype(np.float32)
    return controllers.pose_actions_from_deltas(turned, seen)


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
        raise DatasetError(f"{found}: cannot be read: {' '.join(str(error).split())}") from error
