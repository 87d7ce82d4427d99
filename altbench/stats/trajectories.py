"""Trajectories as points in space, and how far two are from each other: the distances behind the memorisation audit.

A trajectory is float64 (T, 3 * arms): positions of the end effector in metres, world frame, the arms side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from altbench.core.demonstration import Demonstration
from altbench.core.errors import ConfigError, suggestion
from altbench.core.types import AGENT_POS_DIM, POSE_ACTION_DIM, Float32, Float64
from altbench.rollout.records import StepRecord

RESAMPLED_POINTS = 64
Source = Literal["positions", "actions"]
SOURCES: dict[str, str] = {
    "positions": "the end effector's positions after each action but the last",
    "actions": "the commanded positions of the end effector",
}


@dataclass(frozen=True)
class Distance:
    """A distance of trajectories. `prepare`: done once to each, (T, D) -> (P, D); `between`: two prepared -> metres."""

    name: str
    description: str
    prepare: Callable[[Float64], Float64]
    between: Callable[[Float64, Float64], float]


def resample(trajectory: Float64, points: int = RESAMPLED_POINTS) -> Float64:
    """`points` points at equal fractions of the time index, the first and the last kept, linear between: (points, D)."""
    times = np.linspace(0.0, len(trajectory) - 1.0, points)
    return np.stack([np.interp(times, np.arange(len(trajectory)), column) for column in trajectory.T], axis=1)


def mean_distance(first: Float64, second: Float64) -> float:
    """Mean Euclidean distance of points with the same number, both (P, D)."""
    return float(np.linalg.norm(first - second, axis=1).mean())


def _warped(first: Float64, second: Float64) -> float:
    from altbench.stats.dtw import warped_distance

    return float(warped_distance(first, second))


DISTANCES: dict[str, Distance] = {
    "resampled": Distance(
        "resampled",
        f"mean position distance after resampling both to {RESAMPLED_POINTS} points at equal fractions of time",
        resample,
        mean_distance,
    ),
    "dtw": Distance(
        "dtw",
        "dynamic time warping of positions (symmetric form, no window), divided by the sum of both lengths",
        np.ascontiguousarray,
        _warped,
    ),
}


def find_distance(name: str) -> Distance:
    """The distance called `name`; ConfigError with the nearest valid one."""
    if name not in DISTANCES:
        raise ConfigError(f"unknown distance {name!r}{suggestion(name, DISTANCES)}")
    return DISTANCES[name]


def check_source(name: str) -> Source:
    """`name`, where it is a source of trajectories; ConfigError with the nearest valid one."""
    if name not in SOURCES:
        raise ConfigError(f"unknown trajectory {name!r}{suggestion(name, SOURCES)}")
    return "positions" if name == "positions" else "actions"


def episode_trajectory(steps: Sequence[StepRecord], arms: int, source: Source = "positions") -> Float64:
    """The trajectory of a recorded episode; (0, 3 * arms) where it is too short to have one.

    A record holds the position after each action, a demonstration the one before: leaving out the record's last and the
    demonstration's first, both begin after the first action, and a replay is the same to the last bit.
    """
    if source == "positions":
        return _points([step.agent_pos for step in steps[:-1]], AGENT_POS_DIM, arms)
    return _points([step.action for step in steps], POSE_ACTION_DIM, arms)


def demonstration_trajectory(demonstration: Demonstration, arms: int, source: Source = "positions") -> Float64:
    """The trajectory of a demonstration, comparable with `episode_trajectory`; ConfigError where it has none."""
    if source == "positions":
        points = _points(demonstration.agent_pos[1:], AGENT_POS_DIM, arms)
    else:
        points = _points(demonstration.actions, POSE_ACTION_DIM, arms)
    if len(points) == 0:
        raise ConfigError(
            f"demonstration {demonstration.index}: expected at least two frames, got {len(demonstration)}"
        )
    return points


def _points(rows: Sequence[object] | Float32, width: int, arms: int) -> Float64:
    """The first three of each arm's `width` numbers, float64 (T, 3 * arms)."""
    values = np.asarray(rows, np.float64)
    if values.size == 0:
        return np.empty((0, 3 * arms))
    if values.shape[1] != width * arms:
        raise ConfigError(
            f"expected {width} numbers per arm and step ({arms} arm{'s' if arms > 1 else ''}), got {values.shape[1]}: "
            "commanded positions need actions in ee_pose; audit the positions instead"
        )
    return np.ascontiguousarray(values.reshape(len(values), arms, width)[:, :, :3].reshape(len(values), 3 * arms))
