"""Proprioception in a policy's conventions, and back."""

from __future__ import annotations

import numpy as np

from altbench.adapters import rotations
from altbench.adapters.spec import Point, State
from altbench.core.errors import ContractError
from altbench.core.types import AGENT_POS_DIM, Float32, Float64

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001}
"""Metres in a unit."""


def length(as_it_is: State) -> int:
    """Return how many numbers the policy takes for each arm."""
    lengths = {
        "position": 3,
        "rotation": rotations.LENGTHS[as_it_is.rotation],
        "fingers": 2 if as_it_is.fingers == "two" else 1,
    }
    return sum(lengths[part] for part in as_it_is.order)


def to_policy(agent_pos: Float32, as_it_is: State, base: Point | None) -> Float32:
    """Return our proprioception, float32 (..., 11 per arm), as the policy takes it."""
    if as_it_is == State():
        return agent_pos
    arms = agent_pos.reshape(*agent_pos.shape[:-1], -1, AGENT_POS_DIM).astype(np.float64)
    matrices = rotations.matrices(arms[..., 3:9], "rot6d")
    if as_it_is.tool == "hand":
        matrices = matrices @ rotations.HAND
    fingers = arms[..., 9:11]
    parts = {
        "position": (arms[..., :3] - _origin(as_it_is, base)) / UNITS[as_it_is.unit],
        "rotation": rotations.numbers(matrices, as_it_is.rotation),
        "fingers": fingers if as_it_is.fingers == "two" else fingers[..., :1] - fingers[..., 1:],
    }
    chosen = [parts[part] for part in as_it_is.order] or [arms[..., :0]]
    found: Float32 = np.concatenate(chosen, axis=-1).reshape(*agent_pos.shape[:-1], -1).astype(np.float32)
    return found


def from_policy(state: Float32, as_it_is: State, base: Point | None, arms: int) -> Float32:
    """Return a policy's proprioception as ours: what undoes `to_policy`.

    ContractError if it has another length. Missing parts are zeros, a missing rotation
    is no rotation.
    """
    expected = arms * length(as_it_is)
    if state.shape[-1] != expected:
        raise ContractError(f"expected a state of {expected} numbers, got {state.shape[-1]}")
    each = state.reshape(*state.shape[:-1], arms, length(as_it_is)).astype(np.float64)
    position = np.zeros((*each.shape[:-1], 3))
    matrices = np.broadcast_to(np.eye(3), (*each.shape[:-1], 3, 3))
    fingers = np.zeros((*each.shape[:-1], 2))
    start = 0
    for part in as_it_is.order:
        width = length(as_it_is.model_copy(update={"order": (part,)}))
        values, start = each[..., start : start + width], start + width
        if part == "position":
            position = values * UNITS[as_it_is.unit] + _origin(as_it_is, base)
        elif part == "rotation":
            matrices = rotations.matrices(values, as_it_is.rotation)
            matrices = matrices @ rotations.HAND.T if as_it_is.tool == "hand" else matrices
        else:
            fingers = values if as_it_is.fingers == "two" else np.concatenate([values / 2, -values / 2], axis=-1)
    parts = [position, rotations.numbers(matrices, "rot6d"), fingers]
    found: Float32 = np.concatenate(parts, axis=-1).reshape(*state.shape[:-1], -1).astype(np.float32)
    return found


def _origin(as_it_is: State, base: Point | None) -> Float64:
    return np.asarray(base, np.float64) if as_it_is.frame == "base" and base else np.zeros(3)
