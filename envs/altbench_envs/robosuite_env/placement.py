"""Where a task's objects may stand: its range, its grid of demonstrated poses, and what each split draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from altbench.api import Float64, UnknownNameError

POSE_SPLITS = ("uniform", "grid", "interpolate", "extrapolate_side", "extrapolate_back")  # draw a pose
STATE_SPLITS = ("replay", "recall")  # take it from a demonstration's InitialState
GRID_SEED = 20250505  # draws the grid's remaining pose variables (yaw), once and for all


@dataclass(frozen=True)
class Placement:
    """A box of object poses: x and y first (metres, world), then whatever else a pose has (yaw in radians).

    `low`, `high`: the range, (P,). `grid_shape`: how many grid positions along x and y. `beyond`: how far the
    extrapolating splits leave the range (m). `sides`, `backs`: where to, one of several (pose variable, -1 under its
    low or 1 over its high). `valid`: which poses of the box are possible at all (two objects may not overlap); others
    are drawn again, and midpoints that are none are left out.
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
        """Poses in one pass over the grid."""
        return self.grid_shape[0] * self.grid_shape[1]

    def draw(self, split: str, episode: int, rng: np.random.Generator) -> Float64:
        """The object pose (P,) of one episode; `episode` picks it on the grid and between, `rng` elsewhere."""
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
        """The grid's poses, (grid_size, P), x slowest; further variables are drawn once from a constant seed."""
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
        """Centres of the grid's cells, (at most cells, P): the mean of their four corners' poses, where valid."""
        grid = self.grid().reshape(*self.grid_shape, -1)
        corners = grid[:-1, :-1] + grid[1:, :-1] + grid[:-1, 1:] + grid[1:, 1:]
        centres: Float64 = corners.reshape(-1, grid.shape[-1]) / 4
        kept: Float64 = np.stack([pose for pose in centres if self.valid(pose)])
        return kept

    def _moved_out(self, pose: Float64, ways: tuple[tuple[int, int], ...], rng: np.random.Generator) -> Float64:
        """`pose` moved up to `beyond` out of the range, in one of `ways`."""
        step = self.beyond * (1 - rng.random())  # in (0, beyond]: never on the range's edge
        variable, sign = ways[int(rng.random() * len(ways))]
        pose[variable] = self.high[variable] + step if sign > 0 else self.low[variable] - step
        return pose
