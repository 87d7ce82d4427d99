"""The same seed and options give the same episode, bit for bit, wherever and however it is played."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys

import numpy as np
import pytest

from altbench.core.types import Float32, Float64
from altbench_envs.robosuite_env.adapter import RobosuiteEnv

pytestmark = pytest.mark.sim
STEPS = 12
PLAY_ELSEWHERE = """
import hashlib, sys
import gymnasium, numpy as np
import altbench
from altbench.api import RenderingUnavailable
env = gymnasium.make("altbench/Lift-v0", obs_type="state").unwrapped
env.reset(seed=11)
states = [env.sim_state()]
for action in np.frombuffer(bytes.fromhex(sys.argv[1]), np.float32).reshape(-1, 10):
    env.advance(action)
    states.append(env.sim_state())
print(hashlib.sha256(np.stack(states).tobytes()).hexdigest())
try:
    gymnasium.make("altbench/Lift-v0")
except RenderingUnavailable as error:
    print(error)
"""


@pytest.fixture(scope="module")
def actions(state_env: RobosuiteEnv) -> list[Float32]:
    """Moves about the starting pose that close the gripper half-way."""
    state_env.reset(seed=11)
    rng = np.random.default_rng(0)
    pose = state_env.observe()["agent_pos"][:9]
    noise = rng.normal(0, 0.03, (STEPS, 9))
    return [np.append(pose + n, 1.0 if t > STEPS / 2 else -1.0).astype(np.float32) for t, n in enumerate(noise)]


def _play(env: RobosuiteEnv, actions: list[Float32], **reset: object) -> Float64:
    env.reset(**reset)  # type: ignore[arg-type]
    states = [env.sim_state()]
    for action in actions:
        env.advance(action)
        states.append(env.sim_state())
    return np.stack(states)


def test_same_seed_twice(pixels_env: RobosuiteEnv, state_env: RobosuiteEnv, actions: list[Float32]) -> None:
    first = _play(pixels_env, actions, seed=11)
    image = pixels_env.observe()["pixels"]["wrist"]
    _play(pixels_env, actions, seed=12)
    np.testing.assert_array_equal(_play(pixels_env, actions, seed=11), first)
    np.testing.assert_array_equal(pixels_env.observe()["pixels"]["wrist"], image)
    np.testing.assert_array_equal(_play(state_env, actions, seed=11), first)  # and whatever is observed


def test_same_seed_in_a_fresh_process_without_opengl(state_env: RobosuiteEnv, actions: list[Float32]) -> None:
    here = hashlib.sha256(_play(state_env, actions, seed=11).tobytes()).hexdigest()
    command = [sys.executable, "-c", PLAY_ELSEWHERE, np.stack(actions).tobytes().hex()]
    environment = {**os.environ, "MUJOCO_GL": "disable"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    there, complaint = ran.stdout.splitlines()
    assert there == here
    assert "libegl1" in complaint
    assert "libosmesa6" in complaint
    assert ran.stderr == ""  # nothing of robosuite's log either


def test_replay_is_exact(state_env: RobosuiteEnv, delta_env: RobosuiteEnv, actions: list[Float32]) -> None:
    recorded = _play(state_env, actions, seed=11)
    options = {"split": "replay", "initial_state": state_env.initial_state()}
    _play(state_env, actions, seed=5)
    np.testing.assert_array_equal(_play(state_env, actions, seed=99, options=options), recorded)
    deltas = [action[:7] for action in actions]
    recorded = _play(delta_env, deltas, seed=11)
    options = {"split": "replay", "initial_state": delta_env.initial_state()}
    np.testing.assert_array_equal(_play(delta_env, deltas, options=options), recorded)


def test_recall_keeps_the_object_and_redraws_the_robot(state_env: RobosuiteEnv) -> None:
    state_env.reset(seed=11)
    demonstrated = state_env.initial_state()
    state_env.reset(seed=12, options={"split": "recall", "initial_state": demonstrated})
    recalled = state_env.initial_state()
    np.testing.assert_array_equal(recalled.object_pose, demonstrated.object_pose)
    np.testing.assert_array_equal(recalled.sim_state[8:], demonstrated.sim_state[8:])  # fingers, cube, velocities
    noise = recalled.sim_state[1:8] - demonstrated.sim_state[1:8]
    assert np.all(noise != 0)
    assert np.abs(noise).max() < 0.2  # two draws of 0.02 rad
    state_env.reset(seed=12)
    np.testing.assert_array_equal(state_env.sim_state()[1:8], recalled.sim_state[1:8])  # the seed's, in every split


@pytest.mark.parametrize("mode", ["pose", "delta"])
def test_advance_computes_what_robosuites_step_computes(
    mode: str, state_env: RobosuiteEnv, delta_env: RobosuiteEnv, actions: list[Float32]
) -> None:
    env, moves = (state_env, actions) if mode == "pose" else (delta_env, [a[:7] for a in actions])
    ours = _play(env, moves, seed=11)
    env.reset(options={"split": "replay", "initial_state": env.initial_state()})
    simulator = env._simulator
    for move, expected in zip(moves, ours[1:], strict=True):
        simulator.robosuite.step(simulator._command(env._clipped(move)))
        np.testing.assert_array_equal(simulator.state(), expected)
        simulator.refresh()


def test_looking_changes_nothing(pixels_env: RobosuiteEnv, actions: list[Float32]) -> None:
    unseen = _play(pixels_env, actions, seed=11)
    pixels_env.reset(seed=11)
    for action, expected in zip(actions, unseen[1:], strict=True):
        pixels_env.step(action)
        pixels_env.render()
        np.testing.assert_array_equal(pixels_env.sim_state(), expected)


def test_global_random_state_is_neither_read_nor_touched(state_env: RobosuiteEnv, actions: list[Float32]) -> None:
    first = _play(state_env, actions, seed=11)
    saved = np.random.get_state()
    np.random.seed(7)
    random.seed(7)
    before = np.random.get_state()[1].copy(), random.getstate()
    np.testing.assert_array_equal(_play(state_env, actions, seed=11), first)
    env = RobosuiteEnv(type(state_env._scene)(), obs_type="state")
    np.testing.assert_array_equal(_play(env, actions, seed=11), first)
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])
    assert random.getstate() == before[1]
    np.random.set_state(saved)
