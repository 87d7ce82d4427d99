"""altbench/Lift-v0 keeps the contract of environments."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from altbench.checks import env as checks
from altbench.core import registry
from altbench.core.errors import ConfigError, ContractError, SimulationDiverged
from altbench.core.task import TaskEnv
from altbench_envs.robosuite_env import rendering
from altbench_envs.robosuite_env.adapter import RobosuiteEnv
from altbench_envs.tasks.lift import TABLE_HEIGHT, TASK, LiftScene

pytestmark = pytest.mark.sim
ALLOWED = ("Nested observation spaces", "symmetric and normalized")


@pytest.mark.parametrize("check", [gymnasium_check_env, sb3_check_env])
def test_pixels_pass_the_public_checkers(check: Any, pixels_env: RobosuiteEnv) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check(pixels_env)
    messages = [str(warning.message) for warning in caught]
    assert [m for m in messages if not any(allowed in m for allowed in ALLOWED)] == []


@pytest.mark.parametrize("check", [gymnasium_check_env, sb3_check_env])
def test_state_passes_the_public_checkers_without_a_warning(check: Any, delta_env: RobosuiteEnv) -> None:
    check(delta_env)  # warnings are errors


def test_passes_its_own_checker(pixels_env: RobosuiteEnv) -> None:
    checks.check_env(pixels_env)


def test_observation(pixels_env: RobosuiteEnv) -> None:
    observation, info = pixels_env.reset(seed=0)
    assert isinstance(pixels_env, TaskEnv)
    assert info == {"is_success": False}
    assert list(observation["pixels"]) == ["agentview", "wrist"]
    for image in observation["pixels"].values():
        assert image.shape == (84, 84, 3)
        assert image.dtype == np.uint8
        assert image.flags.c_contiguous
    poses, agent_pos = pixels_env.privileged(), observation["agent_pos"]
    np.testing.assert_allclose(agent_pos[:3], poses["gripper_position"], atol=1e-6)
    assert np.linalg.norm(agent_pos[3:6]) == pytest.approx(1.0, abs=1e-6)
    assert agent_pos[9] > 0 > agent_pos[10]  # the two fingers, metres


def test_environment_state(state_env: RobosuiteEnv) -> None:
    observation, _ = state_env.reset(seed=0)
    assert sorted(observation) == ["agent_pos", "environment_state"]
    state, poses = observation["environment_state"], state_env.privileged()
    np.testing.assert_allclose(state[:3], poses["cube_position"], atol=1e-6)
    np.testing.assert_allclose(state[:3] - state[9:], observation["agent_pos"][:3], atol=1e-6)
    yaw = state_env.initial_state().object_pose[2]
    np.testing.assert_allclose(state[3:5], [np.cos(yaw), np.sin(yaw)], atol=1e-6)


def test_images_stand_upright(pixels_env: RobosuiteEnv) -> None:
    image = pixels_env.render()
    assert image is not None
    assert image.shape == (256, 256, 3)
    assert image[-32:].mean() > 200 > image[:32].mean()  # the pale table is below, the robot and the wall above


def test_cube_rests_on_the_table(state_env: RobosuiteEnv) -> None:
    state_env.reset(seed=0)
    hold = np.append(state_env.observe()["agent_pos"][:9], -1).astype(np.float32)
    before = state_env.privileged()["cube_position"]
    for _ in range(5):
        state_env.advance(hold)
    np.testing.assert_allclose(state_env.privileged()["cube_position"], before, atol=5e-4)
    assert before[2] > TABLE_HEIGHT


def test_success_ends_the_episode_with_reward_one(state_env: RobosuiteEnv) -> None:
    state_env.reset(seed=0)
    start = state_env.initial_state()
    lifted = start.sim_state.copy()
    lifted[1 + 9 + 2] += 0.1  # after the time and nine joints, the cube's z
    state_env.reset(options={"split": "replay", "initial_state": type(start)(lifted, start.object_pose)})
    reward, terminated, truncated, info = state_env.advance(state_env.action_space.high)
    assert (reward, terminated, truncated, info) == (1.0, True, False, {"is_success": True})


def test_divergence_is_an_error_not_a_silent_reset(state_env: RobosuiteEnv) -> None:
    state_env.reset(seed=0)
    start = state_env.initial_state()
    wild = start.sim_state.copy()
    wild[17:24] = 1e9  # the arm's joint velocities
    state_env.reset(options={"split": "replay", "initial_state": type(start)(wild, start.object_pose)})
    with pytest.raises(SimulationDiverged, match=r"at t = \d"):
        for _ in range(5):
            state_env.advance(state_env.action_space.high)
    state_env.reset(seed=0)
    state_env.advance(state_env.action_space.high)  # and the next episode is sound


def test_state_observations_need_no_opengl(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*size: int) -> None:
        raise AssertionError("a GL context was made")

    monkeypatch.setattr(rendering, "new_context", refuse)
    env = RobosuiteEnv(LiftScene(), obs_type="state")
    env.reset(seed=0)
    env.step(env.action_space.sample())
    assert env.render() is None
    env.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "replai"}, "unknown split 'replai'; did you mean 'replay'?"),
        ({"splitt": "grid"}, "unknown reset option 'splitt'; did you mean 'split'?"),
        ({"split": "recall"}, "needs options\\['initial_state'\\]"),
        ({"split": "grid", "episode": -1}, "episode: expected an integer from 0, got -1"),
        ({"split": "grid", "episode": 1.5}, "episode: expected an integer from 0, got 1.5"),
    ],
)
def test_wrong_reset_options_are_refused(options: dict[str, Any], message: str, state_env: RobosuiteEnv) -> None:
    with pytest.raises(ConfigError, match=message):
        state_env.reset(options=options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"obs_type": "pixel"}, "unknown obs_type 'pixel'; did you mean 'pixels'?"),
        ({"control_mode": 7}, "control_mode: expected one of ee_pose, ee_delta, got 7"),
        ({"placement": "wide"}, "unknown placement 'wide'"),
        ({"cameras": ("agentvieuw",)}, "unknown camera 'agentvieuw'; did you mean 'agentview'?"),
        ({"image_size": (84, 0)}, r"image_size: expected \(height, width\)"),
        ({"image_size": 84}, r"image_size: expected \(height, width\)"),
        ({"render_mode": "human"}, "unknown render_mode 'human'"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RobosuiteEnv(LiftScene(), **arguments)


def test_wrong_actions_are_refused(state_env: RobosuiteEnv) -> None:
    state_env.reset(seed=0)
    with pytest.raises(ContractError, match=r"expected shape \(10,\) for ee_pose, got \(7,\)"):
        state_env.advance(np.zeros(7, np.float32))
    with pytest.raises(ContractError, match="finite"):
        state_env.advance(np.full(10, np.nan, np.float32))


def test_registered_task_and_environment_agree() -> None:
    assert TASK.grid_size == LiftScene.placements["altbench"].grid_size
    # The scene adds where poses may be.
    assert registry.task("Lift") == replace(TASK, workspace=registry.task("Lift").workspace)
