"""What makes stepping fast changes no result: our control step against robosuite's, from equal states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from altbench.core.types import Float32, Float64
from altbench_envs.robosuite_env.adapter import RobosuiteEnv
from altbench_envs.robosuite_env.control import FastOsc
from altbench_envs.tasks.transport import TransportScene

pytestmark = pytest.mark.sim
STEPS = 200
TOLERANCE = 1e-6  # m, rad, m/s and rad/s
TABLE = 0.8


def _waypoints(cube: Float64) -> list[tuple[int, Float64, float]]:
    """(steps, position, gripper): over the cube, around it, close, lift, throw it down, press on the table, drag."""
    over, around = cube + np.array([0, 0, 0.1]), cube - np.array([0, 0, 0.005])
    press = np.array([0.1, 0.1, TABLE - 0.05])
    corner = np.array([-0.1, 0.2, TABLE - 0.05])
    return [
        (30, over, -1),
        (25, around, -1),
        (20, around, 1),
        (30, over, 1),
        (15, over, -1),
        (40, press, 1),
        (40, corner, 1),
    ]


def _actions(env: RobosuiteEnv) -> list[Float32]:
    poses = env.privileged()
    upright = env.observe()["agent_pos"][3:9]
    rng, actions = np.random.default_rng(1), []
    for steps, position, gripper in _waypoints(poses["cube_position"]):
        for _ in range(steps):
            turned = upright + rng.normal(0, 0.05, 6)
            actions.append(np.concatenate([position, turned, [gripper]]).astype(np.float32))
    assert len(actions) == STEPS
    return actions


def _robosuites_next_state(env: RobosuiteEnv, action: Float32) -> Float64:
    """What robosuite's own `step` makes of the present state, which stays as it is."""
    import mujoco

    simulator = env._simulator
    model, data = simulator.model, simulator.data
    before = mujoco.MjData(model)
    mujoco.mj_copyData(before, model, data)
    grippers = [(arm.robot.gripper[arm.name], arm.robot.gripper[arm.name].current_action) for arm in simulator.arms]
    simulator.robosuite.step(simulator._command(env._clipped(action)))
    state = simulator.state()
    mujoco.mj_copyData(data, model, before)
    for gripper, fingers in grippers:
        gripper.current_action = fingers
    return state


def _played(env: RobosuiteEnv, actions: list[Any]) -> Counter[str]:
    """Play `actions`, comparing each step; in how many steps each gripper (`gripper0`, ...) was in contact."""
    touched: Counter[str] = Counter()
    for action in actions:
        expected = _robosuites_next_state(env, action)
        env.advance(action)
        np.testing.assert_allclose(env.sim_state(), expected, rtol=0, atol=TOLERANCE)
        data, model = env._simulator.data, env._simulator.model
        names = {model.geom(int(g)).name.partition("_")[0] for pair in data.contact.geom for g in pair}
        touched.update(name for name in names if name.startswith("gripper"))
    return touched


def test_pose_actions_make_the_same_next_state(state_env: RobosuiteEnv) -> None:
    state_env.reset(seed=3)
    assert state_env._simulator._fast
    assert _played(state_env, _actions(state_env))["gripper0"] > 60


def test_delta_actions_make_the_same_next_state(delta_env: RobosuiteEnv) -> None:
    delta_env.reset(seed=3)
    rng = np.random.default_rng(2)
    drift = [(-0.2, 0.0, -0.9)] * 60 + [(0.6, 0.4, 0.0)] * 60 + [(0.0, -0.6, 0.5)] * 80
    actions = [
        np.append(np.append(d, rng.normal(0, 0.2, 3)), rng.choice([-1.0, 1.0])).astype(np.float32) for d in drift
    ]
    assert len(actions) == STEPS
    assert delta_env._simulator._fast
    assert _played(delta_env, actions)["gripper0"] > 20


def test_robosuites_own_controllers_are_the_fallback(state_env: RobosuiteEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    state_env.reset(seed=4)
    actions = _actions(state_env)[:4]
    for action in actions:
        state_env.advance(action)
    fast = state_env.sim_state()
    state_env.reset(seed=4)
    monkeypatch.setattr(state_env._simulator, "_fast", [])
    for action in actions:
        state_env.advance(action)
    np.testing.assert_array_equal(state_env.sim_state(), fast)


@pytest.mark.parametrize(
    ("attribute", "value"), [("impedance_mode", "variable"), ("uncoupling", False), ("qvel_index", [0, 2])]
)
def test_other_controllers_are_left_to_robosuite(
    attribute: str, value: object, state_env: RobosuiteEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = state_env._simulator
    (arm,) = simulator.arms
    assert FastOsc.applies(simulator.robosuite, arm.robot, arm.name)
    monkeypatch.setattr(arm.controller, attribute, value)
    assert not FastOsc.applies(simulator.robosuite, arm.robot, arm.name)


# ------------------------------------------------------------------------------------------------------------ two arms


@pytest.fixture(scope="module", params=["ee_pose", "ee_delta"])
def two_arms(request: pytest.FixtureRequest) -> Iterator[RobosuiteEnv]:
    """Transport without images, in either control mode."""
    made = RobosuiteEnv(TransportScene(), obs_type="state", control_mode=request.param)
    yield made
    made.close()


def _of_two_arms(env: RobosuiteEnv) -> list[Float32]:
    """The right arm takes the lid by its handle, lifts it and lets it fall; the left presses on the table beside its bin."""
    poses, rng = env.privileged(), np.random.default_rng(3)
    lid, beside = poses["lid_position"] + np.array([0, 0, 0.03]), np.array([0.3, 0.45, TABLE - 0.05])
    over = lid + np.array([0, 0, 0.1])
    ways = [(60, over, -1), (40, lid, -1), (25, lid, 1), (35, over, 1), (40, lid, -1)]
    down = np.split(env.observe()["agent_pos"], 2)
    actions = []
    for steps, right, gripper in ways:
        for _ in range(steps):
            turned = [arm[3:9] + rng.normal(0, 0.03, 6) for arm in down]
            actions.append(np.concatenate([right, turned[0], [gripper], beside, turned[1], [-gripper]]))
    return [np.asarray(action, np.float32) for action in actions]


def _deltas_of_two_arms() -> list[Float32]:
    """Both arms sink, in their bases' frames, until they press on what is below; then they drag."""
    rng = np.random.default_rng(4)
    drift = [(0.3, 0.0, -0.9)] * 80 + [(0.3, 0.4, -0.2)] * 60 + [(-0.3, -0.4, -0.2)] * 60
    arms = [[np.concatenate([d, rng.normal(0, 0.2, 3), rng.choice([-1.0, 1.0], 1)]) for _ in range(2)] for d in drift]
    return [np.concatenate(pair).astype(np.float32) for pair in arms]


@pytest.mark.slow
def test_two_arms_make_the_same_next_state(two_arms: RobosuiteEnv) -> None:
    two_arms.reset(seed=3)
    actions = _of_two_arms(two_arms) if two_arms.control_mode == "ee_pose" else _deltas_of_two_arms()
    assert len(actions) == STEPS
    assert len(two_arms._simulator._fast) == 2
    touched = _played(two_arms, actions)
    assert touched["gripper0"] > 20
    assert touched["gripper1"] > 20
