"""ToolHang keeps the contract, and frame, wrench and stand rest where they say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from altbench.checks import env as checks
from altbench_envs.robosuite_env.adapter import RobosuiteEnv
from altbench_envs.tasks.tool_hang import APART, TASK, ToolHangScene

SCENE = ToolHangScene()


@pytest.fixture(scope="module")
def env() -> Iterator[RobosuiteEnv]:
    """ToolHang without images."""
    made = RobosuiteEnv(SCENE, obs_type="state")
    yield made
    made.close()


@pytest.mark.sim
def test_passes_the_checker(env: RobosuiteEnv) -> None:
    checks.check_env(env)


@pytest.mark.sim
def test_objects_rest_where_the_pose_says(env: RobosuiteEnv) -> None:
    env.reset(seed=1)
    np.testing.assert_allclose(env.object_pose(), env.initial_state().object_pose, atol=1e-6)
    before = env.privileged()
    hold = np.append(env.observe()["agent_pos"][:9], -1).astype(np.float32)
    for _ in range(5):
        env.advance(hold)
    for name in ("stand", "frame", "tool"):
        np.testing.assert_allclose(env.privileged()[f"{name}_position"], before[f"{name}_position"], atol=1e-3)


@pytest.mark.sim
def test_state_shows_what_the_expert_sees(env: RobosuiteEnv) -> None:
    observation, _ = env.reset(seed=2)
    poses = env.privileged()
    for number, name in enumerate(("stand", "frame", "tool")):
        state = observation["environment_state"][12 * number : 12 * number + 12]
        np.testing.assert_allclose(state[:3], poses[f"{name}_position"], atol=1e-6)
        np.testing.assert_allclose(state[:3] - state[9:], poses["gripper_position"], atol=1e-6)


@pytest.mark.parametrize("name", ["altbench", "robosuite"])
def test_placements_fit_the_task(name: str) -> None:
    placement = SCENE.placements[name]
    grid = placement.grid()
    assert grid.shape == (TASK.grid_size, len(TASK.pose_names)) == (30, len(placement.low))
    assert np.hypot(*(grid[:, :2] - grid[:, 3:5]).T).min() >= APART
