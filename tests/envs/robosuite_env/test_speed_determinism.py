"""Every registered task: the same seed gives the same states, in this process and in another; nothing global is touched."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys

import gymnasium
import numpy as np
import pytest

from altbench.core import registry

pytestmark = pytest.mark.sim
SEED, STEPS = 11, 4


def state_hash(name: str, env: gymnasium.Env | None = None) -> str:  # type: ignore[type-arg]
    """SHA-256 of the states of a short episode of the task `name`, played in `env` or a new one."""
    env = env or gymnasium.make(registry.task(name).env_id, obs_type="state", disable_env_checker=True)
    task = env.unwrapped
    task.reset(seed=SEED)
    low, high = task.action_space.low, task.action_space.high
    actions = np.random.default_rng(0).uniform(low, high, (STEPS, len(low))).astype(np.float32)
    states = [task.sim_state()]
    for action in actions:
        task.advance(action)
        states.append(task.sim_state())
    return hashlib.sha256(np.stack(states).tobytes()).hexdigest()


TASKS = [name for name in registry.names("task") if name != "Fake"]  # which tests alone may have registered


@pytest.fixture(scope="module")
def elsewhere() -> dict[str, str]:
    """Task -> hash, from one other process for all tasks."""
    code = f"import {__name__.rpartition('.')[2]} as here\nfor name in {TASKS!r}: print(name, here.state_hash(name))"
    path = f"import sys; sys.path.insert(0, {str(__file__.rpartition('/')[0])!r})\n"
    ran = subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True, check=True)
    return dict(line.split() for line in ran.stdout.splitlines())


@pytest.mark.parametrize("name", TASKS)
def test_same_seed_same_states_and_nothing_global(name: str, elsewhere: dict[str, str]) -> None:
    before = np.random.get_state()[1].copy(), np.random.get_state()[2], random.getstate()
    env = gymnasium.make(registry.task(name).env_id, obs_type="state", disable_env_checker=True)
    first = state_hash(name, env)
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])
    assert (np.random.get_state()[2], random.getstate()) == before[1:]
    np.random.random()  # and nothing global is read
    random.random()
    assert state_hash(name, env) == first == elsewhere[name]
    env.close()
