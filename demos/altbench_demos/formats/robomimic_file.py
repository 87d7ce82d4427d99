"""Import of robomimic's HDF5: `data/demo_i/{obs,actions,states}`.

The JSON attribute `env_args` describes them. Actions may be absolute or delta commands
of robosuite's OSC_POSE. An episode is a success if a state shows it, or the simulated
last action, or a sparse reward of 1 in the last frame. Images are copied if the file has those of all the task's
cameras, and drawn from the states if it has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
    UInt8,
    View,
    check_actions,
    hdf5,
    recognised_by,
)
from altbench_demos.formats import (
    controllers,
    deltas,
    filter_keys,
    fixed_bodies,
    foreign_hdf5,
    mjcf,
    recognition,
    viewing,
)
from altbench_demos.formats.robosuite_file import model_xml

ROBOSUITE_TYPE, GYMNASIUM_TYPE = 1, 2
"""robomimic's numbers for kinds of environments, `EnvType`."""
SAME_PLACE = 0.01
"""m: how far a recorded gripper may be from ours. Further means another scene."""


@dataclass(frozen=True)
class _Header:
    """A file's description of itself.

    `recorded`: the actions' control mode; `native_actions`: they are robosuite's, not
    ours; `actions`: the name of their array. `turn`: 1 if deltas turn as today, -1 if
    the other way. `proof`: whether a reward of 1 means success. `cameras`: our camera
    -> its images' name in the file (empty: no images).
    """

    recorded: ControlMode
    native_actions: bool
    actions: str
    proof: bool
    cameras: Mapping[str, str]
    image_size: tuple[int, int]
    names: tuple[str, ...]
    made_with: str
    turn: int = 1


@recognised_by(recognition.robomimic)
def read_robomimic(path: Path, viewer: StateViewer, options: ImportOptions) -> Recording:
    """Read a file of robomimic's format: an `altbench.api.Importer`.

    `options.control_mode` None: the file's own, and "ee_pose" if it has absolute
    actions, `actions_abs`, beside the delta ones. "ee_pose" for a file of delta actions
    alone: each becomes the pose that the controller aims at.
    """
    with foreign_hdf5.reading(path) as file:
        header = _header(path, file, viewer, options)
    mode = options.control_mode or header.recorded
    if (header.recorded, mode) == ("ee_pose", "ee_delta"):
        raise DatasetError(f"{path}: expected delta actions for --control-mode ee_delta, got absolute ones")
    if header.recorded != mode and viewer.info.arms > 1:
        raise DatasetError(
            f"{path}: expected absolute actions, got delta actions of two arms, each in its base's frame"
        )
    header = _with_turn(path, header, viewer, options)
    unusable: dict[str, str] = {}
    rewarded: set[int] = set()

    def make(index: int) -> Demonstration:
        return _demonstration(path, header, index, viewer, mode, options, rewarded)

    made = viewing.usable(header.names, make, unusable)
    made_with = {"recorded with": header.made_with}
    return Recording(mode, header.image_size, len(header.names), made, made_with, header.names, unusable, rewarded)


# ------------------------------------------------------------------------------------------------------------- header


def _header(path: Path, file: h5py.File, viewer: StateViewer, options: ImportOptions) -> _Header:
    data = hdf5.group(file, "data")
    where = f"{path}: env_args"
    args = hdf5.json_object(where, foreign_hdf5.text(data, "env_args"))
    kwargs = args.get("env_kwargs", {})
    if not isinstance(kwargs, dict):
        raise DatasetError(f"{where}: expected env_kwargs, got {kwargs!r}"[:300])
    ours = args.get("type") == GYMNASIUM_TYPE
    expected = _check_environment(where, args, viewer, ours)
    frequency = kwargs.get("control_freq", viewer.info.control_hz)
    if frequency != viewer.info.control_hz:
        raise DatasetError(f"{where}: expected control at {viewer.info.control_hz:g} Hz, got {frequency!r} Hz"[:300])
    if "robots" in kwargs and not ours:
        viewing.check_robots(kwargs["robots"], viewer.native, where)
    names = filter_keys.selected(path, file, foreign_hdf5.numbered(data, "demo_"), options.filter)
    recorded, actions = _recorded_actions(where, hdf5.group(data, names[0]), kwargs, viewer, options, ours)
    cameras, size = _cameras(path, hdf5.group(data, names[0]), viewer, options)
    made_with = f"altbench {expected}" if ours else f"robosuite {str(args.get('env_version', 'unknown'))[:32]}"
    proof = not kwargs.get("reward_shaping") and kwargs.get("reward_scale", 1.0) == 1.0
    return _Header(recorded, not ours, actions, proof, cameras, size, tuple(names), made_with)


def _check_environment(where: str, args: Mapping[str, Any], viewer: StateViewer, ours: bool) -> str:
    """Return the name of the task's environment; DatasetError if the file is of another."""
    expected = viewer.info.env_id if ours else viewer.native.env_name
    name = args.get("env_name")
    # Machine-generated files have this prefix.
    found = name.removeprefix("MG_") if isinstance(name, str) else name
    if found != expected or args.get("type") not in (ROBOSUITE_TYPE, GYMNASIUM_TYPE):
        wanted = f"robosuite's {viewer.native.env_name} (type {ROBOSUITE_TYPE}) or {viewer.info.env_id}"
        got = f"{name!r} (type {args.get('type')!r})"
        raise DatasetError(f"{where}: expected demonstrations of {wanted}, got {got}"[:400])
    return expected


def _recorded_actions(
    where: str, demo: h5py.Group, kwargs: Mapping[str, Any], viewer: StateViewer, options: ImportOptions, ours: bool
) -> tuple[ControlMode, str]:
    """Return the control mode and the array's name of the actions to take."""
    if not ours and "actions_abs" in demo and options.control_mode != "ee_delta":
        return "ee_pose", "actions_abs"
    return _recorded_mode(where, kwargs, viewer, ours), "actions"


def _with_turn(path: Path, header: _Header, viewer: StateViewer, options: ImportOptions) -> _Header:
    """Return the header with the convention of turns that the first episodes' states show.

    Actions that do not explain the motion either way stay, and the import refuses them.
    """
    if not header.native_actions or header.recorded != "ee_delta":
        return header
    undrawn = replace(header, cameras={})

    def make(index: int) -> Demonstration:
        return _demonstration(path, undrawn, index, viewer, "ee_delta", options, set(), drawn=False)

    sample = list(viewing.usable(header.names[: deltas.SAMPLE], make, {}))
    turn = deltas.turning(viewer, sample) or 1
    made_with = header.made_with if turn > 0 else f"{header.made_with}, turns reversed (robosuite 1.0)"
    return replace(header, turn=turn, made_with=made_with)


def _recorded_mode(where: str, kwargs: Mapping[str, Any], viewer: StateViewer, ours: bool) -> ControlMode:
    if not ours:
        return controllers.recorded_mode(kwargs.get("controller_configs"), viewer.info, where)
    mode = kwargs.get("control_mode", "ee_pose")
    if mode not in ("ee_pose", "ee_delta"):
        raise DatasetError(f"{where}: expected control_mode ee_pose or ee_delta, got {mode!r}"[:300])
    recorded: ControlMode = mode
    return recorded


def _cameras(
    path: Path, demo: h5py.Group, viewer: StateViewer, options: ImportOptions
) -> tuple[dict[str, str], tuple[int, int]]:
    """Return our camera -> the name of its images in the file, and their size (H, W).

    Empty if the images are to be drawn.
    """
    drawn_size = options.image_size or viewing.DEFAULT_IMAGE_SIZE
    obs = hdf5.group(demo, "obs") if "obs" in demo else {}
    there = sorted(name for name in obs if name.endswith("_image"))
    if options.render or not there:
        return {}, drawn_size
    found = {}
    for camera in viewer.info.cameras:
        names = (f"{viewer.native.cameras[camera]}_image", f"{camera}_image")
        found[camera] = next((name for name in names if name in there), "")
    if not all(found.values()):
        wanted = ", ".join(f"{c} ({viewer.native.cameras[c]}_image)" for c in found)
        raise DatasetError(f"{path}: expected images of {wanted}, got {there}; --render draws them from the states")
    sizes = {foreign_hdf5.image_size(obs, name) for name in found.values()}
    size = sizes.pop()
    if sizes or options.image_size not in (None, size):
        expected = options.image_size or "one size"
        got = sorted({size, *sizes})
        raise DatasetError(f"{path}: expected images of {expected}, got {got}; --render draws them from the states")
    return found, size


# ----------------------------------------------------------------------------------------------------------- episodes


@dataclass(frozen=True)
class _Episode:
    """One episode of T frames as the file has it; optional parts are None if missing.

    `eef`: recorded gripper positions (T, 3), m. `fixed`: the pose of fixed bodies (P,).
    """

    states: Float64
    actions: Float64
    rewards: Float64 | None
    eef: Float64 | None
    fixed: Float64 | None
    pixels: dict[str, UInt8] | None


def _demonstration(
    path: Path,
    header: _Header,
    index: int,
    viewer: StateViewer,
    mode: ControlMode,
    options: ImportOptions,
    rewarded: set[int],
    drawn: bool = True,
) -> Demonstration:
    """Make demonstration `index`; without `drawn` it has no images.

    `index` is added to `rewarded` if only its rewards show that it solves the task.
    """
    where = f"{path}: {header.names[index]}"
    episode = _episode(path, header, index, viewer, options)
    views = viewing.look_along(viewer, episode.states, where, episode.fixed)
    _check_place(where, episode.eef, views)
    frames = min(viewing.until_success(views, len(episode.states)), len(views))
    pixels = episode.pixels and {camera: images[:frames] for camera, images in episode.pixels.items()}
    made = viewing.demonstration(
        viewer,
        index,
        views=views[:frames],
        states=episode.states[:frames],
        actions=_actions(where, episode.actions[:frames], views[:frames], header, mode, viewer),
        control_mode=mode,
        success=views[-1].success,
        pixels=pixels if drawn else {},
        image_size=header.image_size,
    )
    if made.success or not drawn:
        return made
    if viewing.solved_by_last_action(viewer, made):
        return replace(made, success=True)
    if header.proof and episode.rewards is not None and episode.rewards[-1] == 1:
        rewarded.add(index)
        return replace(made, success=True)
    return made


def _episode(path: Path, header: _Header, index: int, viewer: StateViewer, options: ImportOptions) -> _Episode:
    where, dim = f"{path}: {header.names[index]}", viewer.info.action_dim
    with foreign_hdf5.reading(path) as file:
        demo = hdf5.group(hdf5.group(file, "data"), header.names[index])
        states = foreign_hdf5.numbers(demo, "states", foreign_hdf5.width(demo, "states"))
        actions = foreign_hdf5.numbers(
            demo, header.actions, dim("ee_delta") if header.native_actions else dim(header.recorded)
        )
        rewards = foreign_hdf5.numbers(demo, "rewards") if "rewards" in demo else None
        obs = hdf5.group(demo, "obs") if "obs" in demo else {}
        eef = foreign_hdf5.numbers(obs, "robot0_eef_pos", 3) if "robot0_eef_pos" in obs else None
        pixels = {c: foreign_hdf5.images(obs, name, len(states)) for c, name in header.cameras.items()}
        model = foreign_hdf5.optional_text(demo, "model_file")
        fixed = None if header.native_actions else _our_fixed_pose(demo, viewer)
    others = {name: len(found) for name, found in (("rewards", rewards), ("robot0_eef_pos", eef)) if found is not None}
    viewing.check_equal_length(where, states=len(states), actions=len(actions), **others)
    if any(images.shape[1:3] != header.image_size for images in pixels.values()):
        raise DatasetError(
            f"{where}: expected images of {header.image_size} as in the file's first episode, got others"
        )
    xml = model_xml(path, model, options.model)
    present = mjcf.map_states(states, xml, viewer.native, where)
    viewing.check_frequency(present, viewer.info, where)
    if header.native_actions:
        fixed = fixed_bodies.pose(xml, viewer.native, where)
    return _Episode(present, actions, rewards, eef, fixed, pixels or None)


def _our_fixed_pose(demo: h5py.Group, viewer: StateViewer) -> Float64 | None:
    """Read the pose of fixed bodies (P,) from one of our own files."""
    if not viewer.native.fixed_bodies:
        return None
    return foreign_hdf5.vector(demo, "object_pose", len(viewer.info.pose_names))


def _actions(
    where: str, actions: Float64, views: list[View], header: _Header, mode: ControlMode, viewer: StateViewer
) -> Float32:
    """Return the actions (T, Da) in `mode`, once they are held against their space."""
    seen = np.stack([view.agent_pos for view in views])
    if header.recorded == "ee_delta" and header.turn < 0:
        actions = controllers.reversed_turns(actions)
    native_poses = header.native_actions and header.recorded == "ee_pose"
    recorded = controllers.pose_actions_from_native(actions) if native_poses else actions
    check_actions(where, recorded, seen, viewer.info, header.recorded)
    if header.recorded != mode:
        return controllers.pose_actions_from_deltas(actions, seen)
    return recorded.astype(np.float32)


def _check_place(where: str, eef: Float64 | None, views: list[View]) -> None:
    """Raise DatasetError unless recorded gripper positions agree with the states'."""
    if eef is None:
        return
    ours = np.stack([view.agent_pos[:3] for view in views])
    error = np.linalg.norm(ours - eef[: len(ours)], axis=1)
    if error.max() > SAME_PLACE:
        t = int(error.argmax())
        raise DatasetError(f"{where}: frame {t}: expected the gripper at {ours[t]} as its state says, got {eef[t]}")
