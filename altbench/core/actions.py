"""What actions may be: the bounds of each control mode, held against spaces and data.

One guard for everything that comes from elsewhere: imported files, our own files, and
checkpoints of other projects. `altbench.core.motion` asks whether actions within these
bounds also explain the recorded motion.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from altbench.core.errors import ContractError, DatasetError
from altbench.core.task import TaskInfo
from altbench.core.types import AGENT_POS_DIM, POSE_ACTION_DIM, ControlMode, Float32, Float64

ROUNDING = 1e-3
"""How far a number may lie beyond its bound: float32, and rotations written as text."""
ANYWHERE = 2.0
"""m: the bound of a position if the task names no workspace, as for observations."""
AROUND_WORKSPACE = 0.3
"""m: how far outside the workspace a recorded target may lie. The task clips it."""
NEAR = 0.3
"""m: how far a target may be from the gripper in the median frame. In our own
demonstrations the farthest is 0.07 m, in recorded deltas 0.09 m."""
UNIT = 0.1
"""How far the length of a rot6d column may be from 1."""
FINGERS = 0.004
"""m: a change of the fingers' opening over `LATER` frames that counts as motion."""
LATER = 3
"""Frames within which fingers follow a command."""
FEWEST = 3
"""Frames of moving fingers that are needed to judge the gripper's sign."""


def action_bounds(task: TaskInfo, mode: ControlMode) -> tuple[Float64, Float64]:
    """Return the least and greatest action of `mode`, float64 (Da,) each.

    "ee_delta": -1 and 1. "ee_pose": the workspace (m, world), and -1 and 1 for rot6d
    and gripper.
    """
    ones = np.ones(task.action_dim(mode))
    if mode == "ee_delta":
        return -ones, ones
    low, high = task.workspace or ((-ANYWHERE,) * 3, (ANYWHERE,) * 3)
    others = np.ones(POSE_ACTION_DIM - 3)
    return np.tile([*low, *-others], task.arms), np.tile([*high, *others], task.arms)


def check_space(where: str, low: Float64 | Float32, high: Float64 | Float32, task: TaskInfo, mode: ControlMode) -> None:
    """Raise ContractError unless a Box from `low` to `high` is the action space of `mode`.

    A policy or a data set with another Box was made behind a wrapper that rescales. A
    task without a workspace has no bounds for positions; the rest is compared.
    """
    bounds = action_bounds(task, mode)
    compared = np.ones(len(bounds[0]), dtype=bool)
    if mode == "ee_pose" and task.workspace is None:
        compared = np.arange(len(compared)) % POSE_ACTION_DIM >= 3
    for name, found, expected in (("from", low, bounds[0]), ("to", high, bounds[1])):
        if found.shape != expected.shape or not np.allclose(found[compared], expected[compared], rtol=0, atol=ROUNDING):
            raise ContractError(
                f"{where}: expected the action space of {task.name} ({mode}), {name} {_short(expected)}, got {name} "
                f"{_short(found)}; was it made behind a wrapper such as RescaleAction? Make it without the wrapper"
            )


def check_actions(
    where: str, actions: Float64 | Float32, agent_pos: Float32, task: TaskInfo, mode: ControlMode
) -> None:
    """Raise DatasetError unless `actions` (T, Da) can be actions of `mode` in a frame of `agent_pos`.

    They must be finite, within the bounds, and poses near the gripper that the same
    frame of `agent_pos` (T, Dp) shows. The fingers must follow the gripper's sign.
    """
    values = np.asarray(actions, dtype=np.float64)
    if not np.isfinite(values).all():
        raise DatasetError(
            f"{where}: expected finite actions, got NaN or infinity in frame {_first(~np.isfinite(values))}"
        )
    _check_bounds(where, values, task, mode)
    width = len(values[0]) // task.arms
    for number in range(task.arms):
        action = values[:, number * width : (number + 1) * width]
        seen = agent_pos[:, number * AGENT_POS_DIM : (number + 1) * AGENT_POS_DIM].astype(np.float64)
        if mode == "ee_pose":
            _check_pose(where, action, seen)
        _check_gripper(where, action[:, -1], seen)


def _check_bounds(where: str, values: Float64, task: TaskInfo, mode: ControlMode) -> None:
    low, high = action_bounds(task, mode)
    slack = np.full(len(low), ROUNDING)
    if mode == "ee_pose":
        slack[np.arange(len(low)) % POSE_ACTION_DIM < 3] = AROUND_WORKSPACE
    outside = (values < low - slack) | (values > high + slack)
    if outside.any():
        t = _first(outside)
        n = int(np.argmax(outside[t]))
        other = "absolute commands" if mode == "ee_delta" else "delta actions"
        raise DatasetError(
            f"{where}: frame {t}: expected {mode} actions, whose number {n} is from {low[n]:g} to {high[n]:g}, got "
            f"{values[t, n]:.4g}; are they {other}, or rescaled?"
        )


def _check_pose(where: str, action: Float64, seen: Float64) -> None:
    """Check one arm's pose actions (T, 10) against what the same frames show (T, 11)."""
    distance = np.linalg.norm(action[:, :3] - seen[:, :3], axis=1)
    if np.median(distance) > NEAR:
        t = int(np.argsort(distance)[len(distance) // 2])
        raise DatasetError(
            f"{where}: frame {t}: expected ee_pose targets near the gripper at {_short(seen[t, :3])}, got "
            f"{_short(action[t, :3])}, {distance[t]:.2f} m away; are they delta actions, or rescaled?"
        )
    lengths = np.linalg.norm(action[:, 3:9].reshape(-1, 2, 3), axis=2)
    # Two zero columns keep the present orientation.
    wrong = (np.abs(lengths - 1) > UNIT).any(axis=1) & (lengths > ROUNDING).any(axis=1)
    if wrong.any():
        t = _first(wrong)
        raise DatasetError(
            f"{where}: frame {t}: expected a rot6d with columns of length 1, got lengths {_short(lengths[t])}; is it "
            "another representation of rotations, or rescaled?"
        )


def _check_gripper(where: str, command: Float64, seen: Float64) -> None:
    """Check that the fingers of one arm close on 1 and open on -1.

    `command` (T,), `seen` (T, 11). Frames in which the command changes soon are left
    out, and so are files whose fingers hardly move.
    """
    if len(command) <= LATER:
        return
    opening = seen[:, 9] - seen[:, 10]
    change = opening[LATER:] - opening[:-LATER]
    steady = np.all([command[k : len(command) - LATER + k] == command[:-LATER] for k in range(LATER)], axis=0)
    moving = steady & (np.abs(change) > FINGERS)
    follows = np.sign(command[:-LATER]) == -np.sign(change)
    count = int(moving.sum())
    if count >= FEWEST and 2 * int((moving & follows).sum()) < count:
        t = _first(moving & ~follows)
        does = "open" if change[t] > 0 else "close"
        raise DatasetError(
            f"{where}: frame {t}: expected a gripper command of {-np.sign(change[t]):g} where the fingers {does}, got "
            f"{command[t]:.3g} (-1 opens, 1 closes); is its sign reversed, or is it 0 and 1?"
        )


def _first(mask: NDArray[np.bool_]) -> int:
    """Return the first row with a true value."""
    return int(np.argmax(mask.reshape(len(mask), -1).any(axis=1)))


def _short(values: Float64 | Float32) -> str:
    return "[" + ", ".join(f"{v:.3g}" for v in values) + "]"
