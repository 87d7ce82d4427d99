"""Trajectories as points in space, and distances between two of them.

A trajectory is float64 (T, 3 * arms): positions of the end effector in metres, world
frame, the arms side by side. The memorisation audit compares them.
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
"""Points of a resampled trajectory, however long the episode was."""
Source = Literal["positions", "actions"]
SOURCES: dict[str, str] = {
    "positions": "the end effector's positions after each action but the last",
    "actions": "the commanded positions of the end effector",
}


@dataclass(frozen=True)
class Distance:
    """A distance between two trajectories.

    `prepare` is applied once to each trajectory, (T, D) -> (P, D). `between` takes two
    prepared ones and returns metres.
    """

    name: str
    description: str
    prepare: Callable[[Float64], Float64]
    between: Callable[[Float64, Float64], float]


def resample(trajectory: Float64, points: int = RESAMPLED_POINTS) -> Float64:
    """Return (points, D): the trajectory at equal fractions of its time index.

    The first and the last point are kept; between its points the trajectory is linear.
    """
    times = np.linspace(0.0, len(trajectory) - 1.0, points)
    return np.stack([np.interp(times, np.arange(len(trajectory)), column) for column in trajectory.T], axis=1)


def mean_distance(first: Float64, second: Float64) -> float:
    """Return the mean Euclidean distance of points with the same index, both (P, D)."""
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
    """Return the distance `name`; raise ConfigError with the nearest valid name."""
    if name not in DISTANCES:
        raise ConfigError(f"unknown distance {name!r}{suggestion(name, DISTANCES)}")
    return DISTANCES[name]


def check_source(name: str) -> Source:
    """Return `name` if it is a source of trajectories.

    Raises ConfigError with the nearest valid name.
    """
    if name not in SOURCES:
        raise ConfigError(f"unknown trajectory {name!r}{suggestion(name, SOURCES)}")
    return "positions" if name == "positions" else "actions"


def episode_trajectory(steps: Sequence[StepRecord], arms: int, source: Source = "positions") -> Float64:
    """Return the trajectory of a recorded episode; (0, 3 * arms) if it is too short.

    A record holds the position after each action, a demonstration the position before
    it. Without the record's last and the demonstration's first position, both begin
    after the first action, and a replay equals its demonstration to the last bit.
    """
    if source == "positions":
        return _points([step.agent_pos for step in steps[:-1]], AGENT_POS_DIM, arms)
    return _points([step.action for step in steps], POSE_ACTION_DIM, arms)


def demonstration_trajectory(demonstration: Demonstration, arms: int, source: Source = "positions") -> Float64:
    """Return the trajectory of a demonstration, comparable with `episode_trajectory`.

    Raises ConfigError for a demonstration of fewer than two frames.
    """
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
    """Return the first three of each arm's `width` numbers, float64 (T, 3 * arms)."""
    values = np.asarray(rows, np.float64)
    if values.size == 0:
        return np.empty((0, 3 * arms))
    if values.shape[1] != width * arms:
        raise ConfigError(
            f"expected {width} numbers per arm and step ({arms} arm{'s' if arms > 1 else ''}), got {values.shape[1]}: "
            "commanded positions exist only for actions in ee_pose; audit the positions instead"
        )
    return np.ascontiguousarray(values.reshape(len(values), arms, width)[:, :, :3].reshape(len(values), 3 * arms))
