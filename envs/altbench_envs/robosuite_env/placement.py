"""The poses of a task's objects: their range, the grid, and what each split draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from altbench.api import Float64, UnknownNameError

POSE_SPLITS = ("uniform", "grid", "interpolate", "extrapolate_side", "extrapolate_back")
"""The splits that draw a pose."""
STATE_SPLITS = ("replay", "recall")
"""The splits that take the pose from a demonstration's `InitialState`."""
GRID_SEED = 20250505
"""The seed of the grid's other pose variables (yaw).

Published demonstrations name their grid pose by its number, so it may never change.
"""


@dataclass(frozen=True)
class Placement:
    """A box of object poses.

    x and y come first (metres, world), then other variables (yaw in radians). `low`,
    `high`: the range, (P,). `grid_shape`: how many grid positions along x and y.
    `beyond`: how far the extrapolating splits leave the range (m). `sides`, `backs`:
    the directions in which they leave it; each is (pose variable, -1 below its low or 1
    above its high). `valid`: whether a pose of the box is possible, as two objects may
    not overlap. Invalid poses are drawn again; invalid midpoints are left out.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    grid_shape: tuple[int, int]
    beyond: float
    sides: tuple[tuple[int, int], ...] = ((1, 1), (1, -1))
    backs: tuple[tuple[int, int], ...] = ((0, 1),)
    valid: Callable[[Float64], bool] = lambda pose: True  # noqa: ARG005

    @property
    def grid_size(self) -> int:
        """The number of poses in one pass over the grid."""
        return self.grid_shape[0] * self.grid_shape[1]

    def draw(self, split: str, episode: int, rng: np.random.Generator) -> Float64:
        """Return the object pose (P,) of one episode.

        `episode` selects a pose of the grid or a midpoint; in other splits `rng` draws
        it.
        """
        if split not in POSE_SPLITS:
            raise UnknownNameError("split", split, POSE_SPLITS)
        if split in ("grid", "interpolate"):
            poses = self.grid() if split == "grid" else self.midpoints()
            pose: Float64 = poses[episode % len(poses)]
            return pose
        while True:
            pose = rng.uniform(self.low, self.high)
            if split != "uniform":
                pose = self._moved_out(pose, self.sides if split == "extrapolate_side" else self.backs, rng)
            if self.valid(pose):
                return pose

    def grid(self) -> Float64:
        """Return the grid's poses, (grid_size, P), x slowest.

        Variables after x and y are drawn once, from a constant seed.
        """
        axes = [np.linspace(self.low[i], self.high[i], n) for i, n in enumerate(self.grid_shape)]
        positions = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        rng, size = np.random.default_rng(GRID_SEED), len(self.low) - 2
        rest = rng.uniform(self.low[2:], self.high[2:], (len(positions), size))
        poses: Float64 = np.concatenate([positions, rest], axis=1)
        for pose in poses:
            while not self.valid(pose):
                pose[2:] = rng.uniform(self.low[2:], self.high[2:])
        return poses

    def midpoints(self) -> Float64:
        """Return the centres of the grid's cells, (at most cells, P), if valid.

        A centre is the mean of its four corners' poses.
        """
        grid = self.grid().reshape(*self.grid_shape, -1)
        corners = grid[:-1, :-1] + grid[1:, :-1] + grid[:-1, 1:] + grid[1:, 1:]
        centres: Float64 = corners.reshape(-1, grid.shape[-1]) / 4
        kept: Float64 = np.stack([pose for pose in centres if self.valid(pose)])
        return kept

    def _moved_out(self, pose: Float64, ways: tuple[tuple[int, int], ...], rng: np.random.Generator) -> Float64:
        """Move `pose` up to `beyond` out of the range, in one of `ways`."""
        step = self.beyond * (1 - rng.random())  # in (0, beyond]: never on the range's edge
        variable, sign = ways[int(rng.random() * len(ways))]
        pose[variable] = self.high[variable] + step if sign > 0 else self.low[variable] - step
        return pose
