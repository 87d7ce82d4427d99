"""Where a task's objects may stand: its range, its grid of demonstrated poses, and what each split draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from altbench.api import Float64
from altbench.errors import UnknownNameError

POSE_SPLITS = ("uniform", "grid", "interpolate", "extrapolate_side", "extrapolate_back")  # draw a pose
STATE_SPLITS = ("recall", "replay")  # take it from a demonstration's InitialState
GRID_SEED = 20250505  # draws the grid's remaining pose variables (yaw), once and for all


@dataclass(frozen=True)
class Placement:
    """A box of object poses: x and y first (metres, world), then whatever else a pose has (yaw in radians).

    `low`, `high`: the range, (P,). `grid_shape`: how many grid positions along x and y. `beyond`: how far the
    extrapolating splits leave the range (m).
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    grid_shape: tuple[int, int]
    beyond: float

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
        pose = rng.uniform(self.low, self.high)
        return pose if split == "uniform" else self._moved_out(pose, split, rng)

    def grid(self) -> Float64:
        """The grid's poses, (grid_size, P), x slowest; further variables are drawn once from a constant seed."""
        axes = [np.linspace(self.low[i], self.high[i], n) for i, n in enumerate(self.grid_shape)]
        positions = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        rest = np.random.default_rng(GRID_SEED).uniform(
            self.low[2:], self.high[2:], (len(positions), len(self.low) - 2)
        )
        return np.concatenate([positions, rest], axis=1)

    def midpoints(self) -> Float64:
        """Centres of the grid's cells, (cells, P): the mean of their four corners' poses."""
        grid = self.grid().reshape(*self.grid_shape, -1)
        corners = grid[:-1, :-1] + grid[1:, :-1] + grid[:-1, 1:] + grid[1:, 1:]
        return np.asarray(corners.reshape(-1, grid.shape[-1]) / 4)

    def _moved_out(self, pose: Float64, split: str, rng: np.random.Generator) -> Float64:
        """`pose` moved up to `beyond` out of the range: to either side (y), or to the back (x, away from the robot)."""
        step = self.beyond * (1 - rng.random())  # in (0, beyond]: never on the range's edge
        if split == "extrapolate_back":
            pose[0] = self.high[0] + step
        else:
            pose[1] = self.high[1] + step if rng.random() < 0.5 else self.low[1] - step
        return pose
