"""Actions in a policy's conventions as ours, and back.

A chunk of n answers for B slots is an array (B, n, numbers). Position, rotation and
gripper are decoded apart, so that a search can combine them without decoding twice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from altbench.adapters import rotations
from altbench.adapters.spec import Actions, Point
from altbench.core.errors import ContractError
from altbench.core.types import AGENT_POS_DIM, POSE_ACTION_DIM, Float32, Float64

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "controller": 0.05}
"""Metres in a unit of position."""
TURN = 0.5
"""Radians in a unit of a rotation vector with "controller", as robosuite has it."""


@dataclass(frozen=True)
class Poses:
    """Poses of grip sites: `positions` (..., arms, 3) in m, `matrices` (..., arms, 3, 3)."""

    positions: Float64
    matrices: Float64

    @classmethod
    def of(cls, numbers: Float32 | Float64, width: int) -> Poses:
        """Return the poses at the beginning of each arm's `width` numbers (..., arms x width)."""
        arms = numbers.reshape(*numbers.shape[:-1], -1, width).astype(np.float64)
        return cls(arms[..., :3], rotations.matrices(arms[..., 3:9], "rot6d"))


@dataclass(frozen=True)
class Context:
    """What actions are relative to, for B slots.

    `seen`: poses (B, arms) when the policy was asked. `before`: the targets before its
    chunk (B, arms). `base`: of the robot (m, world). `track`: poses (B, steps, arms) of
    the present and the following control steps, where they are known.
    """

    seen: Poses
    before: Poses
    base: Point | None = None
    track: Poses | None = None


def seen_poses(agent_pos: Float32) -> Poses:
    """Return the poses (B, arms) in the latest of our observations `agent_pos` (B, To, Dp)."""
    return Poses.of(agent_pos[:, -1], AGENT_POS_DIM)


def width(how: Actions) -> int:
    """Return how many numbers the policy answers for each arm."""
    return 3 + rotations.LENGTHS[how.rotation] + 1


def horizon(answers: int, how: Actions) -> int:
    """Return for how many control steps a chunk of `answers` lasts; 0 if for none."""
    steps = {0.5: 2 * answers, 1.0: answers, 2.0: answers // 2}[how.frequency]
    return max(steps + how.offset, 0)


def answers_for(steps: int, how: Actions) -> int:
    """Return how many answers a chunk of `steps` of ours becomes in the policy's conventions."""
    left = max(steps - how.offset, 0)
    return {0.5: left // 2, 1.0: left, 2.0: 2 * left}[how.frequency]


def split(answers: Float32 | Float64, how: Actions, arms: int) -> tuple[Float64, Float64, Float64]:
    """Return positions (B, n, arms, 3), rotations (B, n, arms, r) and grippers (B, n, arms).

    ContractError if an answer has another length.
    """
    expected = arms * width(how)
    if answers.ndim != 3 or answers.shape[-1] != expected:
        raise ContractError(
            f"act: expected actions (B, Ta, {expected}), as the adapter's rotation {how.rotation!r} makes them, got "
            f"{answers.shape}"
        )
    each = answers.reshape(*answers.shape[:2], arms, width(how)).astype(np.float64)
    return each[..., :3], each[..., 3:-1], each[..., -1]


def decode(answers: Float32 | Float64, how: Actions, context: Context) -> Float64:
    """Return our pose actions (B, steps, arms, 10) for a policy's answers (B, n, numbers)."""
    position, rotation, gripper = split(answers, how, context.seen.positions.shape[1])
    places, turns = positions(position, how, context), matrices(rotation, how, context)
    parts = [places, rotations.numbers(turns, "rot6d"), grippers(gripper, how)[..., None]]
    return np.concatenate(parts, axis=-1)


def as_deltas(answers: Float32 | Float64, how: Actions, arms: int) -> Float64:
    """Return our delta actions (B, steps, arms, 7) for answers whose reference is "step"."""
    position, rotation, gripper = split(answers, how, arms)
    vectors = rotations.numbers(_turns(rotation, how), "rotvec") / TURN
    moved = _shifted(_metres(position, how) / UNITS["controller"], how)
    return np.concatenate([moved, _shifted(vectors, how), grippers(gripper, how)[..., None]], axis=-1)


def positions(values: Float64, how: Actions, context: Context) -> Float64:
    """Return target positions (B, steps, arms, 3), m in the world, of (B, n, arms, 3)."""
    moved = _metres(values, how)
    if how.reference == "absolute":
        origin = np.asarray(context.base if how.frame == "base" and context.base else np.zeros(3))
        return _timed(moved + origin, context.before.positions, how)
    if how.frame == "end_effector":
        moved = np.einsum("baij,bnaj->bnai", context.seen.matrices, moved)
    if how.reference == "pose":
        return _timed(context.seen.positions[:, None] + moved, context.before.positions, how)
    if how.reference == "previous":
        reached = context.before.positions[:, None] + np.cumsum(moved, axis=1)
        return _timed(reached, context.before.positions, how)
    moved = _shifted(moved, how)
    return _track(context).positions[:, _steps(context, moved)] + moved


def matrices(values: Float64, how: Actions, context: Context) -> Float64:
    """Return target rotations (B, steps, arms, 3, 3) in the world, of (B, n, arms, r)."""
    return turned(_turns(values, how), how, context)


def turned(turns: Float64, how: Actions, context: Context) -> Float64:
    """Return target rotations (B, steps, arms, 3, 3) in the world, of a policy's rotations (B, n, arms, 3, 3)."""
    if how.reference == "absolute":
        found = turns @ rotations.HAND.T if how.tool == "hand" else turns
    elif how.reference == "pose":
        found = _turned(turns, context.seen.matrices[:, None], how)
    elif how.reference == "previous":
        reached, last = [], context.before.matrices
        for step in range(turns.shape[1]):
            last = _turned(turns[:, step], last, how)
            reached.append(last)
        found = np.stack(reached, axis=1)
    else:
        turns = _shifted(turns, how)
        return _turned(turns, _track(context).matrices[:, _steps(context, turns)], how)
    timed = _timed(found, context.before.matrices, how)
    if how.frequency == 0.5:
        flat = timed.reshape(-1, 3, 3)
        timed = rotations.gram_schmidt(flat[:, :, 0], flat[:, :, 1]).reshape(timed.shape)
    return timed


def grippers(values: Float64, how: Actions) -> Float64:
    """Return our gripper commands (B, steps, arms), -1 open and 1 closed, of (B, n, arms)."""
    opened, closed = how.gripper
    ours = -1.0 + 2.0 * (values - opened) / (closed - opened)
    if how.frequency == 0.5:
        ours = np.repeat(ours, 2, axis=1)
    elif how.frequency == 2.0:
        ours = ours[:, 1::2]
    return np.clip(_shifted(ours, how), -1.0, 1.0)


def encode(targets: Float64, how: Actions, context: Context) -> Float32:
    """Return pose actions (B, steps, arms, 10) as the policy would answer: what undoes `decode`.

    The numbers for steps before the present one repeat the targets before. ContractError
    for the reference "step", which needs the motion to come.
    """
    if how.reference == "step":
        raise ContractError('expected a reference other than "step", which needs the poses to come')
    wanted = Poses.of(targets.reshape(*targets.shape[:2], -1), POSE_ACTION_DIM)
    place = _untimed(wanted.positions, context.before.positions, how)
    turn = _untimed(wanted.matrices, context.before.matrices, how)
    commands = targets[..., 9]
    gripper = _untimed(commands, commands[:, 0], how)
    moved, turned = _relative(place, turn, how, context)
    opened, closed = how.gripper
    scaled = (gripper + 1.0) / 2.0 * (closed - opened) + opened
    parts = [_units(moved, how), _numbers(turned, how), scaled[..., None]]
    joined = np.concatenate(parts, axis=-1)
    found: Float32 = joined.reshape(*joined.shape[:2], -1).astype(np.float32)
    return found


def _relative(place: Float64, turn: Float64, how: Actions, context: Context) -> tuple[Float64, Float64]:
    """Return positions and rotations relative to what `how` says."""
    if how.reference == "absolute":
        origin = np.asarray(context.base if how.frame == "base" and context.base else np.zeros(3))
        return place - origin, turn @ rotations.HAND if how.tool == "hand" else turn
    start = context.seen if how.reference == "pose" else context.before
    if how.reference == "pose":
        from_place = np.repeat(start.positions[:, None], place.shape[1], axis=1)
        from_turn = np.repeat(start.matrices[:, None], turn.shape[1], axis=1)
    else:
        from_place = np.concatenate([start.positions[:, None], place[:, :-1]], axis=1)
        from_turn = np.concatenate([start.matrices[:, None], turn[:, :-1]], axis=1)
    moved, back = place - from_place, np.swapaxes(from_turn, -1, -2)
    if how.frame == "end_effector":
        return np.einsum("baji,bnaj->bnai", context.seen.matrices, moved), back @ turn
    return moved, turn @ back


def _turned(turns: Float64, starts: Float64, how: Actions) -> Float64:
    return starts @ turns if how.frame == "end_effector" else turns @ starts


def _metres(values: Float64, how: Actions) -> Float64:
    if how.position == "min_max":
        low, high = np.asarray(how.low), np.asarray(how.high)
        return np.asarray(low + (values + 1.0) / 2.0 * (high - low))
    return values * UNITS[how.position]


def _units(metres: Float64, how: Actions) -> Float64:
    if how.position == "min_max":
        low, high = np.asarray(how.low), np.asarray(how.high)
        return np.asarray(2.0 * (metres - low) / (high - low) - 1.0)
    return metres / UNITS[how.position]


def _turns(values: Float64, how: Actions) -> Float64:
    """Return the rotations that an action's numbers stand for."""
    scale = TURN if how.position == "controller" and how.rotation == "rotvec" else 1.0
    return rotations.matrices(values * scale, how.rotation)


def _numbers(turns: Float64, how: Actions) -> Float64:
    scale = TURN if how.position == "controller" and how.rotation == "rotvec" else 1.0
    return rotations.numbers(turns, how.rotation) / scale


def _timed(targets: Float64, before: Float64, how: Actions) -> Float64:
    """Return targets at the task's frequency, from the present step on.

    What lies between two targets is their mean.
    """
    if how.frequency == 0.5:
        starts = np.concatenate([before[:, None], targets[:, :-1]], axis=1)
        both = np.stack([(starts + targets) / 2.0, targets], axis=2)
        targets = both.reshape(targets.shape[0], -1, *targets.shape[2:])
    elif how.frequency == 2.0:
        targets = targets[:, 1::2]
    return _shifted(targets, how)


def _shifted(values: Float64, how: Actions) -> Float64:
    """Leave out what was meant for steps that are over; begin with the first until it is due."""
    if how.offset < 0:
        return values[:, -how.offset :]
    return np.concatenate([np.repeat(values[:, :1], how.offset, axis=1), values], axis=1) if how.offset else values


def _untimed(targets: Float64, before: Float64, how: Actions) -> Float64:
    """Return targets at the policy's frequency, from its own first step on."""
    if how.offset > 0:
        targets = targets[:, how.offset :]
    elif how.offset < 0:
        targets = np.concatenate([np.repeat(before[:, None], -how.offset, axis=1), targets], axis=1)
    if how.frequency == 0.5:
        return targets[:, 1::2]
    if how.frequency == 2.0:
        starts = np.concatenate([before[:, None], targets[:, :-1]], axis=1)
        both = np.stack([(starts + targets) / 2.0, targets], axis=2)
        found: Float64 = both.reshape(targets.shape[0], -1, *targets.shape[2:])
        return found
    return targets


def _track(context: Context) -> Poses:
    if context.track is None:
        raise ContractError('expected the poses of all steps, which the reference "step" is relative to')
    return context.track


def _steps(context: Context, values: Float64) -> list[int]:
    """Return the steps of the track that the values belong to; the last one stands for later ones."""
    last = _track(context).positions.shape[1] - 1
    return [min(step, last) for step in range(values.shape[1])]


def finite(answers: Float32 | Float64) -> bool:
    """Return whether all numbers of a policy's answers are finite."""
    return bool(math.isfinite(float(np.sum(np.abs(answers)))))
