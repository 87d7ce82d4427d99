"""Stack, Can, Square and Door keep the contract of environments, and their objects stand where they say."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import gymnasium
import numpy as np
import pytest

import altbench
from altbench.checks import env as checks
from altbench.core import registry
from altbench.core.types import Float64
from altbench_envs.robosuite_env.adapter import RobosuiteEnv
from altbench_envs.robosuite_env.placement import Placement

assert altbench.__version__  # importing it registers the tasks
TASKS = ("Stack", "Can", "Square", "Door")
OBJECTS = {"Stack": ("red", "green"), "Can": ("can",), "Square": ("nut",), "Door": ("door", "latch")}


def _placement(task: str, name: str = "altbench") -> Placement:
    module = importlib.import_module(f"altbench_envs.tasks.{task.lower()}")
    placement: Placement = getattr(module, f"{task}Scene").placements[name]
    return placement


@pytest.fixture(scope="module", params=TASKS)
def env(request: pytest.FixtureRequest) -> Iterator[RobosuiteEnv]:
    """Each task without images."""
    made = gymnasium.make(f"altbench/{request.param}-v0", obs_type="state")
    assert isinstance(made.unwrapped, RobosuiteEnv)
    yield made.unwrapped
    made.close()


@pytest.mark.sim
def test_passes_the_checker(env: RobosuiteEnv) -> None:
    checks.check_env(env)


@pytest.mark.sim
def test_objects_rest_at_the_pose_of_the_episode(env: RobosuiteEnv) -> None:
    env.reset(seed=1)
    hold = np.append(env.observe()["agent_pos"][:9], -1).astype(np.float32)
    before = env.privileged()
    for _ in range(5):
        env.advance(hold)
    for name in OBJECTS[env.info.name]:
        np.testing.assert_allclose(env.privileged()[f"{name}_position"], before[f"{name}_position"], atol=1e-3)
    wanted, found = env.initial_state().object_pose, env.object_pose()
    turns = np.array(["yaw" in name for name in env.info.pose_names])
    off = np.where(turns, np.sin((found - wanted) / 2), found - wanted)
    np.testing.assert_allclose(off, 0, atol=2e-3)


@pytest.mark.sim
def test_state_shows_what_the_experts_see(env: RobosuiteEnv) -> None:
    observation, _ = env.reset(seed=2)
    state, poses = observation["environment_state"], env.privileged()
    seen = poses["handle_position" if env.info.name == "Door" else f"{OBJECTS[env.info.name][0]}_position"]
    np.testing.assert_allclose(state[:3], seen, atol=1e-6)
    np.testing.assert_allclose(state[:3] - state[9:12], observation["agent_pos"][:3], atol=1e-6)


@pytest.mark.sim
def test_nothing_has_succeeded_yet(env: RobosuiteEnv) -> None:
    for split in ("uniform", "extrapolate_side", "extrapolate_back"):
        assert env.reset(seed=3, options={"split": split})[1] == {"is_success": False}


@pytest.mark.parametrize("task", TASKS)
def test_registered_task_and_placements_agree(task: str) -> None:
    info = registry.task(task)
    for name in ("altbench", "robosuite"):
        placement = _placement(task, name)
        assert placement.grid().shape == (info.grid_size, len(info.pose_names)) == (30, len(placement.low))
    assert gymnasium.spec(info.env_id).kwargs == {"task": task}


def _draws(placement: Placement, split: str) -> Float64:
    return np.stack([placement.draw(split, i, np.random.default_rng(i)) for i in range(60)])


@pytest.mark.parametrize("task", TASKS)
def test_splits_lie_within_and_beyond_the_range(task: str) -> None:
    placement = _placement(task)
    low, high = np.array(placement.low) - 1e-9, np.array(placement.high) + 1e-9
    for split in ("uniform", "grid", "interpolate"):
        poses = _draws(placement, split)
        assert np.all((poses >= low) & (poses <= high))
    for split, ways in (("extrapolate_side", placement.sides), ("extrapolate_back", placement.backs)):
        poses = _draws(placement, split)
        beyond = np.maximum(poses - high, low - poses)
        assert np.all(np.sum(beyond > 0, axis=1) == 1)
        assert np.all(beyond <= placement.beyond)
        assert {int(i) for i in np.argmax(beyond, axis=1)} == {variable for variable, _ in ways}


def test_stacks_cubes_never_overlap() -> None:
    for name, least in (("altbench", 0.08), ("robosuite", 0.064)):
        for split in ("uniform", "grid", "interpolate", "extrapolate_side", "extrapolate_back"):
            poses = _draws(_placement("Stack", name), split)
            assert np.hypot(*(poses[:, :2] - poses[:, 3:5]).T).min() >= least


def test_most_midpoints_of_stack_are_possible() -> None:
    assert len(_placement("Stack").midpoints()) == 18
