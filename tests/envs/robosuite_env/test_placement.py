"""Where objects stand: the range, the grid, between and beyond."""

from __future__ import annotations

import numpy as np
import pytest

from altbench.core.errors import UnknownNameError
from altbench_envs.robosuite_env.placement import GRID_SEED, Placement
from altbench_envs.tasks.lift import LiftScene
from altbench_envs.tasks.stack import StackScene

LIFT = LiftScene.placements["altbench"]


def _draws(split: str, placement: Placement = LIFT, n: int = 200) -> np.ndarray:
    return np.stack([placement.draw(split, i, np.random.default_rng(i)) for i in range(n)])


def test_grid_covers_the_range_in_thirty_positions() -> None:
    grid = LIFT.grid()
    assert grid.shape == (30, 3)
    np.testing.assert_allclose(np.unique(grid[:, 0]), np.linspace(-0.14, 0.14, 6))
    np.testing.assert_allclose(np.unique(grid[:, 1]), np.linspace(-0.14, 0.14, 5))
    assert len(np.unique(grid[:, 2])) == 30
    assert np.abs(grid[:, 2]).max() <= np.pi / 4


def test_grid_never_changes() -> None:
    """Published results name grid poses; a change needs a new version of the task."""
    assert GRID_SEED == 20250505
    np.testing.assert_allclose(LIFT.grid()[:3, 2], [0.698542, -0.405867, 0.513060], atol=1e-6)


def test_episode_picks_the_grid_pose_and_seed_does_not() -> None:
    for episode in (0, 7, 37):
        poses = [LIFT.draw("grid", episode, np.random.default_rng(seed)) for seed in (0, 1)]
        np.testing.assert_array_equal(poses[0], poses[1])
        np.testing.assert_array_equal(poses[0], LIFT.grid()[episode % 30])


def test_uniform_fills_the_range() -> None:
    poses = _draws("uniform")
    assert np.all(poses >= LIFT.low)
    assert np.all(poses <= LIFT.high)
    assert np.all(np.ptp(poses, axis=0) > 0.9 * np.subtract(LIFT.high, LIFT.low))


def test_interpolate_lies_midway_between_grid_neighbours() -> None:
    grid, poses = LIFT.grid(), _draws("interpolate", n=20)
    spacing = np.array([0.28 / 5, 0.28 / 4])
    for pose in poses:
        offsets = np.abs(grid[:, :2] - pose[:2]) / spacing
        assert np.sum(np.all(np.isclose(offsets, 0.5), axis=1)) == 4
    assert len(np.unique(poses[:, :2], axis=0)) == 20


@pytest.mark.parametrize(("split", "axis", "sides"), [("extrapolate_side", 1, {-1, 1}), ("extrapolate_back", 0, {1})])
def test_extrapolate_lies_just_outside(split: str, axis: int, sides: set[int]) -> None:
    poses = _draws(split)
    assert np.all(np.abs(poses[:, axis]) > 0.14)
    assert np.all(np.abs(poses[:, axis]) <= 0.18 + 1e-12)
    assert set(np.sign(poses[:, axis]).astype(int)) == sides
    assert np.all(np.abs(poses[:, 1 - axis]) <= 0.14)


def test_robosuites_own_range_is_three_centimetres() -> None:
    poses = _draws("uniform", LiftScene.placements["robosuite"])
    assert np.abs(poses[:, :2]).max() <= 0.03


def test_unknown_split_is_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'interpolate'"):
        LIFT.draw("interpolation", 0, np.random.default_rng(0))


def test_tasks_say_how_many_midpoints_they_have() -> None:
    """Intervals count episodes of one midpoint as one cluster."""
    for scene in (LiftScene, StackScene):
        assert scene.info.midpoints == len(scene.placements["altbench"].midpoints())
