"""Conversion between the actions of robosuite's controllers and ours.

Sources: robosuite 1.0 to 1.5, `controllers/osc.py` and `controllers/parts/arm/osc.py`
(OSC_POSE). A delta action moves the grip site's present pose by 5 cm and 0.5 rad per
unit. An absolute command is the grip site's position and rotation vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from altbench.api import ControlMode, DatasetError, Float32, Float64, NativeModel, TaskInfo

AGENT = 11
"""Numbers of `agent_pos` per arm: position, rot6d, two finger positions."""
POSE = 9
"""Numbers of a pose per arm, the first of `agent_pos` and of a pose action: position
and rot6d."""
NATIVE = 7
"""Numbers of robosuite's action per arm: position, rotation vector, gripper."""
POSITION_SCALE, ROTATION_SCALE = 0.05, 0.5
"""m and rad per unit of a delta action, as robosuite's default controller has them."""
EXPECTED: dict[str, Any] = {
    "type": "OSC_POSE",
    "input_max": 1.0,
    "input_min": -1.0,
    "output_max": [POSITION_SCALE] * 3 + [ROTATION_SCALE] * 3,
    "output_min": [-POSITION_SCALE] * 3 + [-ROTATION_SCALE] * 3,
    "kp": 150.0,
    "damping_ratio": 1.0,
    "impedance_mode": "fixed",
    "interpolation": None,
}
"""robosuite's default controller, under which our tasks run. Another one would give the
recorded actions another meaning."""
DELTA_ONLY = ("input_max", "input_min", "output_max", "output_min")
"""Keys of `EXPECTED` that have no effect on absolute actions."""


def recorded_mode(config: Any, task: TaskInfo, where: str) -> ControlMode:
    """Return which of our control modes robosuite's controller configuration means.

    DatasetError with what was expected and what came if it means neither.
    """
    modes = {_mode(part, task, nested, where) for part, nested in _parts(config, where)}
    if len(modes) != 1:
        raise DatasetError(f"{where}: expected all arms under the same kind of controller, got {sorted(modes)}")
    return modes.pop()


def _parts(config: Any, where: str) -> list[tuple[Mapping[str, Any], bool]]:
    """Return the configurations of the arms' controllers, and whether they are nested.

    robosuite up to 1.4 has one flat configuration, later versions one per body part. A
    file may also hold a list of either.
    """
    if isinstance(config, list) and config:
        return [part for each in config for part in _parts(each, where)]
    if not isinstance(config, dict):
        raise DatasetError(f"{where}: expected controller_configs, got {_short(config)}")
    if "body_parts" not in config:
        return [(config, False)]
    parts = config["body_parts"]
    arms = parts.get("arms", parts) if isinstance(parts, dict) else None
    found = [arms[name] for name in ("right", "left") if isinstance(arms, dict) and isinstance(arms.get(name), dict)]
    if not found:
        raise DatasetError(f"{where}: expected the body part right, got {_short(parts)}")
    return [(part, True) for part in found]


def _mode(part: Mapping[str, Any], task: TaskInfo, nested: bool, where: str) -> ControlMode:
    # robosuite before 1.5: these keys, and deltas in the world's frame. From 1.5 on,
    # whose layout is nested, robosuite ignores `control_delta` and has other defaults.
    old = not nested and ("control_delta" in part or "input_type" not in part)
    absolute = part.get("control_delta") is False if old else part.get("input_type", "delta") == "absolute"
    frame = "world" if old else part.get("input_ref_frame", "base")
    for key, expected in EXPECTED.items():
        if absolute and key in DELTA_ONLY:
            continue
        if not _same(part.get(key, expected), expected):
            raise DatasetError(f"{where}: expected a controller with {key} {expected}, got {_short(part[key])}")
    # The base of a single arm is not turned, so that both frames are the same.
    wanted = "world" if absolute else "base" if task.arms > 1 else frame
    if frame != wanted:
        kind = "absolute" if absolute else "delta"
        raise DatasetError(f"{where}: expected {kind} actions in the frame {wanted}, got {_short(frame)}")
    return "ee_pose" if absolute else "ee_delta"


def _same(found: Any, expected: Any) -> bool:
    if expected is None or isinstance(expected, str):
        return bool(found == expected)
    try:
        values = np.asarray(found, dtype=np.float64)
        return bool(np.all(np.abs(values - np.asarray(expected)) < 1e-9))
    except (TypeError, ValueError):
        return False


def pose_actions_from_native(actions: Float64) -> Float32:
    """Convert absolute commands (T, 7 per arm) to our pose actions (T, 10 per arm).

    A command is position, rotation vector, gripper.
    """
    from scipy.spatial.transform import Rotation

    arms = np.split(actions, actions.shape[1] // NATIVE, axis=1)
    return _joined([_pose_action(a[:, :3], Rotation.from_rotvec(a[:, 3:6]).as_matrix(), a[:, 6:]) for a in arms])


def native_from_pose_actions(actions: Float32) -> Float64:
    """Convert our pose actions (T, 10 per arm) to absolute commands (T, 7 per arm).

    This is the inverse of `pose_actions_from_native`.
    """
    from scipy.spatial.transform import Rotation

    parts = []
    for arm in np.split(actions.astype(np.float64), actions.shape[1] // (POSE + 1), axis=1):
        parts += [arm[:, :3], Rotation.from_matrix(matrices(arm[:, 3:9])).as_rotvec(), arm[:, 9:]]
    return np.concatenate(parts, axis=1)


def pose_actions_from_deltas(actions: Float64, agent_pos: Float32) -> Float32:
    """Convert delta actions (T, 7 per arm) to the poses that the controller aims at.

    Each is the pose in `agent_pos` (T, Dp), moved and turned by the delta.
    """
    from scipy.spatial.transform import Rotation

    parts = []
    arms = actions.shape[1] // NATIVE
    for delta, seen in zip(np.split(actions, arms, axis=1), np.split(agent_pos, arms, axis=1), strict=True):
        limited = np.clip(delta[:, :6], -1.0, 1.0)
        turn = Rotation.from_rotvec(ROTATION_SCALE * limited[:, 3:]).as_matrix()
        position = seen[:, :3].astype(np.float64) + POSITION_SCALE * limited[:, :3]
        parts.append(_pose_action(position, turn @ matrices(seen[:, 3:9].astype(np.float64)), delta[:, 6:]))
    return _joined(parts)


def reversed_turns(actions: Float64) -> Float64:
    """Return delta actions (T, 7 per arm) that turn the other way."""
    turned = actions.copy()
    for start in range(0, actions.shape[1], NATIVE):
        turned[:, start + 3 : start + 6] *= -1
    return turned


def pose_actions_from_poses(reached: Float32, actions: Float64) -> Float32:
    """Make pose actions (T, 10 per arm) with the poses in `reached` (T, Dp) as targets.

    The grippers are those of the recorded `actions` (T, Da).
    """
    arms = reached.shape[1] // AGENT
    grippers = [part[:, -1:] for part in np.split(actions, arms, axis=1)]
    poses = [part[:, :POSE] for part in np.split(reached, arms, axis=1)]
    return _joined([np.concatenate([p, np.clip(g, -1, 1)], axis=1) for p, g in zip(poses, grippers, strict=True)])


def matrices(rot6d: Float64) -> Float64:
    """Return rotations (T, 3, 3) from their first two columns (T, 6) by
    Gram–Schmidt."""
    x = rot6d[:, :3] / np.linalg.norm(rot6d[:, :3], axis=1, keepdims=True)
    y = rot6d[:, 3:] - np.sum(x * rot6d[:, 3:], axis=1, keepdims=True) * x
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def native_config(mode: ControlMode, native: NativeModel) -> list[dict[str, Any]]:
    """Return robosuite's (1.5) controller configuration of each robot for `mode`."""
    absolute = {"input_type": "absolute", "input_ref_frame": "world"}
    kind = absolute if mode == "ee_pose" else {"input_type": "delta", "input_ref_frame": "base"}
    part = {**EXPECTED, "uncouple_pos_ori": True, "ramp_ratio": 0.2, **kind, "gripper": {"type": "GRIP"}}
    return [{"type": "BASIC", "body_parts": {"right": part}} for _ in native.robots]


def _pose_action(position: Float64, matrix: Float64, gripper: Float64) -> Float64:
    return np.concatenate([position, matrix[:, :, 0], matrix[:, :, 1], np.clip(gripper, -1, 1)], axis=1)


def _joined(parts: list[Any]) -> Float32:
    joined: Float32 = np.concatenate(parts, axis=1).astype(np.float32)
    return joined


def _short(value: Any) -> str:
    return repr(value) if len(repr(value)) < 80 else f"{repr(value)[:77]}..."
