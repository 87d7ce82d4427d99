"""Import and export of Minari data sets (https://minari.farama.org).

Minari is Gymnasium's own format, read by `minari.load_dataset`. Export needs the extra
`altbench[minari]`; import reads the files without it. Minari keeps images as JPEG,
which loses detail. So an import draws them again from the simulator states in
`infos/sim_state`.
"""

from __future__ import annotations

import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from altbench.api import (
    ConfigError,
    ContractError,
    ControlMode,
    DatasetError,
    Demonstration,
    Float64,
    ImportOptions,
    Recognised,
    Recording,
    StateViewer,
    TaskInfo,
    check_space,
    hdf5,
    recognised_by,
)
from altbench_demos.formats import foreign_hdf5, mjcf, recognition, viewing

DATASET_ID = re.compile(r"([-\w]+/)*[-\w]+-v\d+", re.ASCII)
"""A data set's id, as Minari forms it. It becomes a path, so `..` must not match."""
MAX_METADATA_BYTES = 16 << 20
"""Bytes of a data set's metadata.json, at most. It is read whole."""
SMALLEST_IMAGE = 32
"""Pixels of an image's side, at least. Minari does not treat smaller arrays as images,
and cannot read back what it wrote."""
CLIPPING = "ClipAction"
"""Gymnasium's wrapper that clips actions, as the task itself does. Its space has no
bounds."""
STATES = "sim_state"
"""The key of the simulator states in an episode's `infos`."""
POSE = "object_pose"
"""The key of the object pose in `infos`, for tasks whose states do not contain it."""


def _recognise(path: Path) -> Recognised | None:
    """Return what the data set says of itself; None if it is not Minari's."""
    try:
        spec = hdf5.json_object("env_spec", str(_metadata(_folder(path)).get("env_spec", "{}")))
    except DatasetError:
        return None
    return recognition.of_robosuite(spec.get("id"), "env_spec: id")


@recognised_by(_recognise)
def read_minari(path: Path, viewer: StateViewer, options: ImportOptions) -> Recording:
    """Read a data set's folder, or the data set of an id: an
    `altbench.api.Importer`."""
    viewing.check_no_filter(path, options.filter, "Minari")
    folder = _folder(path)
    metadata = _metadata(folder)
    mode, size = _convention(folder, metadata, viewer, options)
    main = folder / "main_data.hdf5"
    with foreign_hdf5.reading(main) as file:
        names = foreign_hdf5.numbered(file, "episode_")
    unusable: dict[str, str] = {}

    def make(index: int) -> Demonstration:
        return _demonstration(main, names[index], index, viewer, mode, size)

    made_with = {"recorded with": f"minari {str(metadata.get('minari_version'))[:32]}"}
    made = viewing.usable(names, make, unusable)
    return Recording(mode, size, len(names), made, made_with, tuple(names), unusable)


def datasets_root() -> Path:
    """Return the folder in which Minari keeps its data sets."""
    return Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets")


def _folder(path: Path) -> Path:
    """Return the folder with metadata.json; DatasetError if missing."""
    candidates = [path, path / "data", datasets_root() / path / "data"]
    found = next((each for each in candidates if (each / "metadata.json").is_file()), None)
    if found is None:
        looked = ", ".join(map(str, candidates))
        raise DatasetError(f"{path}: expected a Minari data set, but there is no metadata.json in any of {looked}")
    return found


def _metadata(folder: Path) -> dict[str, Any]:
    file = folder / "metadata.json"
    if file.stat().st_size > MAX_METADATA_BYTES:
        raise DatasetError(f"{file}: expected at most {MAX_METADATA_BYTES:,} bytes, got {file.stat().st_size:,}")
    try:
        content = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{file}: cannot be read: {' '.join(str(error).split())}") from error
    metadata = hdf5.json_object(str(file), content)
    if metadata.get("data_format") != "hdf5":
        raise DatasetError(f"{file}: expected data_format hdf5, got {metadata.get('data_format')!r}"[:300])
    return metadata


def _convention(
    folder: Path, metadata: Mapping[str, Any], viewer: StateViewer, options: ImportOptions
) -> tuple[ControlMode, tuple[int, int]]:
    """Return control mode and image size (H, W) of the data set's environment.

    DatasetError unless that environment is the task's.
    """
    where = f"{folder}: env_spec"
    spec = hdf5.json_object(where, str(metadata.get("env_spec", "{}")))
    kwargs = spec.get("kwargs", {})
    if spec.get("id") != viewer.info.env_id or not isinstance(kwargs, dict):
        raise DatasetError(f"{where}: expected demonstrations of {viewer.info.env_id}, got {spec.get('id')!r}"[:300])
    mode = kwargs.get("control_mode", "ee_pose")
    if mode not in get_args(ControlMode) or options.control_mode not in (None, mode):
        wanted = options.control_mode or " or ".join(get_args(ControlMode))
        raise DatasetError(f"{where}: expected actions {wanted}, got {mode!r}"[:300])
    _check_untouched_actions(folder, metadata, spec, viewer.info, cast(ControlMode, mode))
    size = options.image_size or kwargs.get("image_size") or viewing.DEFAULT_IMAGE_SIZE
    if not (isinstance(size, list | tuple) and len(size) == 2 and all(type(s) is int and 8 <= s <= 2048 for s in size)):
        raise DatasetError(f"{where}: expected image_size [height, width] from 8 to 2048, got {size!r}"[:300])
    return cast(ControlMode, mode), (size[0], size[1])


def _check_untouched_actions(
    folder: Path, metadata: Mapping[str, Any], spec: Mapping[str, Any], task: TaskInfo, mode: ControlMode
) -> None:
    """Raise DatasetError if the data set was collected behind wrappers that change actions.

    Its action space, if the metadata have one, must be the task's.
    """
    wrappers = spec.get("additional_wrappers") or ()
    names = [str(each.get("name")) for each in wrappers if isinstance(each, dict)]
    if changing := [name for name in names if "Action" in name and name != CLIPPING]:
        raise DatasetError(
            f"{folder}: env_spec: expected actions as {task.env_id} takes them, got ones collected behind "
            f"{', '.join(changing)}; collect without"[:400]
        )
    content = metadata.get("action_space")
    if content is None:
        return
    where = f"{folder}: action_space"
    space = hdf5.json_object(where, content) if isinstance(content, str) else content
    try:
        low, high = (np.asarray(space[name], dtype=np.float64) for name in ("low", "high"))
    except (KeyError, TypeError, ValueError):
        raise DatasetError(f"{where}: expected a Box with low and high, got {content!r}"[:300]) from None
    if CLIPPING in names and np.isinf(low).all() and np.isinf(high).all():
        return
    try:
        check_space(where, low, high, task, mode)
    except ContractError as error:
        raise DatasetError(str(error)) from None


def _demonstration(
    main: Path, name: str, index: int, viewer: StateViewer, mode: ControlMode, size: tuple[int, int]
) -> Demonstration:
    where = f"{main}: {name}"
    states, actions, fixed = _episode(main, name, viewer, mode)
    views = viewing.look_along(viewer, states, where, fixed)
    frames = min(viewing.until_success(views, len(actions)), len(actions))
    return viewing.demonstration(
        viewer,
        index,
        views=views[:frames],
        states=states[:frames],
        actions=actions[:frames].astype(np.float32),
        control_mode=mode,
        success=views[-1].success,
        pixels=None,
        image_size=size,
    )


def _episode(main: Path, name: str, viewer: StateViewer, mode: ControlMode) -> tuple[Float64, Float64, Float64 | None]:
    """Read states (T + 1, Ds), actions (T, Da) and the pose of fixed bodies (P,).

    The states include the one after the last action.
    """
    where = f"{main}: {name}"
    with foreign_hdf5.reading(main) as file:
        episode = hdf5.group(file, name)
        actions = foreign_hdf5.numbers(episode, "actions", viewer.info.action_dim(mode))
        infos = hdf5.group(episode, "infos") if "infos" in episode else {}
        wanted = [STATES, POSE] if viewer.native.fixed_bodies else [STATES]
        if missing := [key for key in wanted if key not in infos]:
            raise DatasetError(f"{where}: expected simulator states as infos/{missing[0]}, got {sorted(infos)[:9]}")
        fixed = foreign_hdf5.numbers(infos, POSE, len(viewer.info.pose_names))[0] if POSE in wanted else None
        states = foreign_hdf5.numbers(infos, STATES, foreign_hdf5.width(infos, STATES))
    viewing.check_equal_length(where, states=len(states), **{"actions and 1": len(actions) + 1})
    states = mjcf.map_states(states, "", viewer.native, where)
    viewing.check_frequency(states, viewer.info, where)
    return states, actions, fixed


# ------------------------------------------------------------------------------------------------------------- export


def write_minari(recording: Recording, viewer: StateViewer, out: str) -> str:
    """Write the Minari data set `out`, such as `altbench/lift-v0`.

    This is an `altbench.api.Exporter`; Minari keeps the data set among its own.
    """
    minari = _minari()
    if not DATASET_ID.fullmatch(out):
        raise ConfigError(f"--out {out!r}: expected the id of a Minari data set, such as altbench/lift-v0")
    if (datasets_root() / out).exists():
        raise DatasetError(f"{datasets_root() / out}: exists; choose another id")
    if min(recording.image_size) < SMALLEST_IMAGE:
        least = f"{SMALLEST_IMAGE}×{SMALLEST_IMAGE}"
        raise DatasetError(f"Minari keeps images of at least {least} pixels, got {recording.image_size}")
    env = viewer.environment(recording.control_mode, recording.image_size)
    buffers = [
        _buffer(minari.data_collector.EpisodeBuffer, d, viewer, recording.image_size) for d in recording.demonstrations
    ]
    with _whole(datasets_root() / out), warnings.catch_warnings():
        # Minari warns that a code link and an e-mail address are missing.
        warnings.simplefilter("ignore", UserWarning)
        minari.create_dataset_from_buffers(
            out,
            buffers,
            env=env,
            eval_env=env,
            algorithm_name=", ".join(f"{key} {value}" for key, value in recording.made_with.items()),
            author="altbench",
            description=f"Demonstrations of {viewer.info.name}; images are JPEG, infos/{STATES} the exact states.",
        )
    return f"{datasets_root() / out}: {recording.episodes} episodes; read them with minari.load_dataset({out!r})"


@contextmanager
def _whole(folder: Path) -> Iterator[None]:
    """Leave no half-made data set in `folder`; name the reason if writing it fails."""
    try:
        yield
    # On a full disk h5py raises RuntimeError, other libraries OSError.
    except (OSError, RuntimeError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise DatasetError(f"{folder}: cannot be written: {reason}") from error


def _buffer(episode_buffer: Any, d: Demonstration, viewer: StateViewer, size: tuple[int, int]) -> Any:
    """Make one episode of T steps, with T + 1 observations and infos.

    The last observation is not recorded but simulated, one step from the last state.
    """
    pose = d.initial_state.object_pose if viewer.native.fixed_bodies else None
    last_state = viewer.after(d.states[-1], d.actions[-1], d.control_mode, pose)
    last = viewer.look(last_state, size, pose)
    fixed = {} if pose is None else {POSE: np.tile(pose, (len(d) + 1, 1))}
    ends = np.arange(len(d)) == len(d) - 1
    return episode_buffer(
        id=d.index,
        seed=None if d.seed < 0 else d.seed,
        observations={
            "agent_pos": np.concatenate([d.agent_pos, last.agent_pos[None]]),
            "pixels": {camera: np.concatenate([d.pixels[camera], last.pixels[camera][None]]) for camera in d.pixels},
        },
        actions=d.actions,
        rewards=[float(end and d.success) for end in ends],
        terminations=[bool(end and d.success) for end in ends],
        truncations=[bool(end and not d.success) for end in ends],
        infos={
            STATES: np.concatenate([d.states, last_state[None]]),
            "is_success": np.append(np.zeros(len(d), dtype=bool), d.success),
            **fixed,
        },
    )


def _minari() -> Any:
    try:
        import minari
    except ImportError as error:
        raise ConfigError(
            f"Minari is not installed ({error}); install it with: pip install 'altbench[minari]'"
        ) from None
    return minari
