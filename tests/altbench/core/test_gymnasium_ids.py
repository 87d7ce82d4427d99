"""What Gymnasium knows of a task: its id and its horizon, and an episode's limit as the caller wants it."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from dataclasses import replace
from typing import Any

import fakes
import gymnasium
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import TimeLimit

from altbench.checks import check_env
from altbench.core import registry
from altbench.core.gymnasium_ids import EpisodeLimit
from altbench.core.task import TaskEnv, task_of

HORIZON = fakes.TASK.horizon


@pytest.fixture(autouse=True)
def _fake() -> None:
    fakes.register()


def made(**options: Any) -> gymnasium.Env[Any, Any]:
    """A task whose episodes never succeed, so that only a limit ends them."""
    return gymnasium.make(fakes.TASK.env_id, fail_seeds=frozenset({0}), **options)


def played(env: gymnasium.Env[Any, Any], most: int = 3 * HORIZON) -> list[bool]:
    """`truncated` after each step, up to the first that is true."""
    env.reset(seed=0)
    found: list[bool] = []
    while len(found) < most and True not in found:
        found.append(bool(env.step(env.action_space.sample())[3]))
    return found


def test_every_task_tells_gymnasium_its_horizon() -> None:
    for name in registry.names("task"):
        info = registry.task(name)
        assert gymnasium.spec(info.env_id).max_episode_steps == info.horizon


def test_importing_altbench_imports_no_task_to_tell_it() -> None:
    code = (
        "import altbench, gymnasium, sys\n"
        "assert not [m for m in sys.modules if m.startswith('altbench_envs')]\n"
        "assert gymnasium.spec('altbench/Lift-v0').max_episode_steps == 80\n"
        "assert 'robosuite' not in sys.modules and 'mujoco' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("options", "steps"), [({}, HORIZON), ({"max_episode_steps": 3}, 3)])
def test_an_episode_is_truncated_once_at_its_limit(options: dict[str, int], steps: int) -> None:
    env = made(**options)
    for one in (env, env.unwrapped):  # with Gymnasium's TimeLimit, and as the bench's own rollouts advance it
        assert played(one) == [False] * (steps - 1) + [True]


@pytest.mark.parametrize("steps", [HORIZON - 1, HORIZON + 1, 2 * HORIZON])
def test_a_limit_longer_than_the_horizon_is_kept_to(steps: int) -> None:
    env = made(max_episode_steps=steps)
    assert len(played(env)) == len(played(env.unwrapped)) == steps
    again = gymnasium.make(env.spec)  # the limit is part of the specification
    assert again.spec.max_episode_steps == steps and len(played(again)) == steps


def test_no_limit_means_none() -> None:
    env = made(max_episode_steps=-1)
    assert True not in played(env) and task_of(env).episode_limit is None


def test_limits_of_two_environments_do_not_mix() -> None:
    longer, usual = made(max_episode_steps=2 * HORIZON), made()
    assert (len(played(longer)), len(played(usual))) == (2 * HORIZON, HORIZON)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_lerobot_reads_the_limit_through_every_wrapper(mode: str) -> None:
    envs = gymnasium.make_vec("altbench/Lift-v0", num_envs=2, vectorization_mode=mode, obs_type="state")
    assert envs.call("_max_episode_steps") == (80, 80)
    envs.close()


def test_a_task_without_gymnasiums_wrappers_has_its_horizon_too() -> None:
    task = fakes.FakeTask()
    assert task.episode_limit == task._max_episode_steps == HORIZON
    assert TimeLimit(task, 5).get_wrapper_attr("_max_episode_steps") == 5


def test_check_env_knows_an_environments_own_limit() -> None:
    for limit in (10, 2 * HORIZON):
        check_env(made(max_episode_steps=limit))


def test_the_specification_can_be_copied_sent_and_written() -> None:
    spec = gymnasium.spec(fakes.TASK.env_id)
    for other in (copy.deepcopy(spec), pickle.loads(pickle.dumps(spec)), EnvSpec.from_json(spec.to_json())):
        assert other.max_episode_steps == HORIZON and other.id == spec.id


def test_a_task_that_cannot_be_loaded_has_no_horizon() -> None:
    registry.register("task", "Gone", "no_such_module:Gone")
    try:
        assert gymnasium.spec("altbench/Gone-v0").max_episode_steps is None
    finally:
        del registry._REGISTERED["task"]["Gone"], gymnasium.registry["altbench/Gone-v0"]


def test_a_replaced_task_has_its_own_horizon() -> None:
    class Longer(fakes.FakeTask):
        info = replace(fakes.TASK, horizon=HORIZON + 7)

    assert gymnasium.spec(fakes.TASK.env_id).max_episode_steps == HORIZON
    registry.register("task", "Fake", Longer, replace=True)
    try:
        assert gymnasium.spec(fakes.TASK.env_id).max_episode_steps == HORIZON + 7
    finally:
        registry.register("task", "Fake", "fakes:FakeTask", replace=True)


def test_an_environment_that_is_no_task_is_left_alone() -> None:
    class Theirs(gymnasium.Env[Any, Any]):
        pass

    assert not isinstance(EpisodeLimit(Theirs()).unwrapped, TaskEnv)


@pytest.mark.sim
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_simulator_refuses_to_be_copied_in_words(copied: Any) -> None:
    env = gymnasium.make("altbench/Lift-v0", obs_type="state")
    with pytest.raises(
        Exception, match=r"environment of Lift cannot be copied or pickled.*gymnasium\.make\(env\.spec\)"
    ):
        copied(env.unwrapped)
    env.reset(seed=0)
    env.close()
