"""A task with two arms keeps the contract: the right arm's numbers, then the left's, and a wrist camera each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from altbench.checks import env as checks
from altbench_envs.robosuite_env.adapter import RobosuiteEnv
from altbench_envs.robosuite_env.placement import Placement
from altbench_envs.tasks.transport import TASK, TransportScene

SCENE = TransportScene()
SETTLED = 1.5e-3  # m: the hammer rests on its head, a millimetre of its handle's end in the air


@pytest.fixture(scope="module")
def env() -> Iterator[RobosuiteEnv]:
    """Transport with small images."""
    made = RobosuiteEnv(SCENE, image_size=(32, 32), render_size=(32, 32))
    yield made
    made.close()


def _hold(env: RobosuiteEnv) -> np.ndarray:
    """The action (2, 10) that keeps both arms where they are, open."""
    agent_pos = env.observe(pixels=False)["agent_pos"].reshape(2, 11)
    return np.concatenate([agent_pos[:, :9], -np.ones((2, 1))], axis=1).astype(np.float32)


@pytest.mark.sim
@pytest.mark.slow
def test_passes_the_checker(env: RobosuiteEnv) -> None:
    checks.check_env(env)


@pytest.mark.sim
def test_observation_and_action_concatenate_the_arms(env: RobosuiteEnv) -> None:
    observation, _ = env.reset(seed=0)
    assert list(observation["pixels"]) == ["agentview", "wrist_right", "wrist_left"]
    assert not np.array_equal(observation["pixels"]["wrist_right"], observation["pixels"]["wrist_left"])
    assert observation["agent_pos"].shape == (22,)
    assert env.action_space.shape == (20,)
    poses, (right, left) = env.privileged(), observation["agent_pos"].reshape(2, 11)
    np.testing.assert_allclose(right[:3], poses["gripper_position"], atol=1e-6)
    np.testing.assert_allclose(left[:3], poses["gripper1_position"], atol=1e-6)
    assert right[1] < 0 < left[1]  # they face each other along y


@pytest.mark.sim
@pytest.mark.parametrize("arm", [0, 1])
def test_each_half_of_the_action_moves_its_own_arm_in_the_world(arm: int, env: RobosuiteEnv) -> None:
    env.reset(seed=0)
    hold = _hold(env)
    move = hold.copy()
    move[arm, :3] += (0.04, 0.0, 0.03)
    for _ in range(20):
        env.advance(move.reshape(-1))
    moved = (_hold(env) - hold)[:, :3]
    np.testing.assert_allclose(moved[arm], (0.04, 0.0, 0.03), atol=3e-3)
    np.testing.assert_allclose(moved[1 - arm], 0.0, atol=3e-3)


@pytest.mark.sim
def test_grippers_open_and_close_on_their_own(env: RobosuiteEnv) -> None:
    env.reset(seed=0)
    action = _hold(env)
    action[1, 9] = 1.0
    for _ in range(12):
        env.advance(action.reshape(-1))
    right, left = env.observe(pixels=False)["agent_pos"].reshape(2, 11)[:, 9]
    assert right > 0.03
    assert left < 0.01


@pytest.mark.sim
def test_objects_rest_where_the_pose_says(env: RobosuiteEnv) -> None:
    env.reset(seed=1)
    before, hold = env.privileged(), _hold(env).reshape(-1)
    np.testing.assert_allclose(env.object_pose(), env.initial_state().object_pose, atol=1e-6)
    for _ in range(5):
        env.advance(hold)
    after = env.privileged()
    for name in ("payload", "lid", "trash", "start_bin", "target_bin", "trash_bin"):
        np.testing.assert_allclose(after[f"{name}_position"], before[f"{name}_position"], atol=SETTLED)


@pytest.mark.sim
def test_state_shows_what_the_expert_sees(env: RobosuiteEnv) -> None:
    env.reset(seed=2)
    state, poses = SCENE.environment_state(env._simulator), env.privileged()
    assert state.shape == np.shape(SCENE.state_bounds[0])
    np.testing.assert_allclose(state[:3], poses["payload_position"], atol=1e-6)
    np.testing.assert_allclose(state[:3] - state[9:12], poses["gripper_position"], atol=1e-6)
    np.testing.assert_allclose(state[:3] - state[12:15], poses["gripper1_position"], atol=1e-6)
    np.testing.assert_allclose(state[-6:-3], poses["target_bin_position"], atol=1e-6)


@pytest.mark.parametrize("name", ["altbench", "robosuite"])
def test_placements_fit_the_task(name: str) -> None:
    placement: Placement = SCENE.placements[name]
    assert placement.grid().shape == (TASK.grid_size, len(TASK.pose_names)) == (30, len(placement.low))
