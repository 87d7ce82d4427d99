"""The event in mid-episode: the object is shifted by so much, in its range, repeatably, and only while it rests."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from altbench.core import registry
from altbench.core.errors import ConfigError
from altbench.core.types import Float32, Float64
from altbench_envs.robosuite_env.adapter import RobosuiteEnv
from altbench_envs.robosuite_env.events import Shift, requested_move
from altbench_envs.robosuite_env.scene import Scene
from altbench_envs.tasks.lift import TASK, LiftScene

AT, BY = 3, 0.08
CUBE = slice(10, 17)  # its numbers in Lift's state, after the time and nine joints


def _hold(env: RobosuiteEnv, gripper: float = -1.0) -> Float32:
    return np.append(env.observe(pixels=False)["agent_pos"][:9], gripper).astype(np.float32)


def _play(env: RobosuiteEnv, steps: int, seed: int, **options: Any) -> tuple[Float64, list[bool]]:
    """States (steps + 1, Ds) of an episode in which nothing is done, and what `info` told of the event."""
    told = [env.reset(seed=seed, options=options)[1].get("moved", False)]
    states, hold = [env.sim_state()], _hold(env)
    for _ in range(steps):
        told.append(env.advance(hold)[3].get("moved", False))
        states.append(env.sim_state())
    return np.stack(states), told


# ------------------------------------------------------------------------------------------------------------ options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"move_at": 3},
            r"expected both or neither of move_at \(a control step\) and by \(metres\), got move_at alone",
        ),
        ({"by": 0.1}, "got by alone"),
        ({"move_at": -1, "by": 0.1}, "move_at: expected a control step from 0 to 79, got -1"),
        ({"move_at": 80, "by": 0.1}, "move_at: expected a control step from 0 to 79, got 80"),
        ({"move_at": 3.0, "by": 0.1}, "got 3.0"),
        ({"move_at": True, "by": 0.1}, "got True"),
        ({"move_at": None, "by": 0.1}, "got None"),
        ({"move_at": 3, "by": 0.0}, r"by: expected a distance over 0 and up to 0.5 \(m\), got 0.0"),
        ({"move_at": 3, "by": 8}, r"by: expected a distance over 0 and up to 0.5 \(m\), got 8"),
        ({"move_at": 3, "by": float("nan")}, "got nan"),
        ({"move_at": 3, "by": float("inf")}, "got inf"),
        ({"move_at": 3, "by": "far"}, "got 'far'"),
        ({"move_at": 3, "by": True}, "got True"),
    ],
)
def test_wrong_events_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        requested_move(options, TASK)


def test_events_are_read() -> None:
    assert requested_move({"split": "uniform"}, TASK) is None
    assert requested_move({"move_at": np.int64(3), "by": np.float32(0.5)}, TASK) == (3, 0.5)


def test_tasks_that_have_no_event_say_so() -> None:
    with pytest.raises(ConfigError, match="Fixed has nothing that can be shifted in mid-episode"):
        requested_move({"move_at": 3, "by": 0.1}, replace(TASK, name="Fixed", movable=False))


@pytest.mark.parametrize("name", registry.BUILT_IN["task"])
def test_what_is_said_without_a_simulator_is_what_the_scene_has(name: str) -> None:
    module, _, attribute = registry.BUILT_IN["task"][name].partition(":")
    scene: type[Scene] = getattr(importlib.import_module(module), attribute)
    assert registry.task(name).movable == bool(scene.moved_joints)


# ----------------------------------------------------------------------------------------------------------- on Lift


@pytest.mark.sim
@pytest.mark.parametrize("seed", range(8))
def test_the_cube_is_shifted_in_the_range(seed: int, state_env: RobosuiteEnv) -> None:
    still, never = _play(state_env, 8, seed)
    states, told = _play(state_env, 8, seed, move_at=AT, by=BY)
    assert not any(never)
    assert told == [False] * (AT + 1) + [True] * 5
    np.testing.assert_array_equal(states[: AT + 1], still[: AT + 1])  # nothing else is drawn otherwise
    before, after = states[AT, CUBE], states[AT + 1, CUBE]
    assert np.linalg.norm(after[:2] - before[:2]) == pytest.approx(BY, abs=1e-4)
    np.testing.assert_allclose(after[2:], before[2:], atol=2e-4)  # height and orientation
    assert np.abs(after[:2]).max() <= 0.14
    np.testing.assert_allclose(states[-1, CUBE], after, atol=2e-4)  # and there it stays
    np.testing.assert_allclose(states[:, 1:10], still[:, 1:10], atol=1e-6)  # the arm knows nothing of it


@pytest.mark.sim
def test_the_cube_is_put_where_another_demonstration_has_it(state_env: RobosuiteEnv) -> None:
    state_env.reset(seed=3, options={"split": "grid", "episode": 4})
    there, wanted = state_env.object_pose(), state_env.sim_state()[CUBE]
    states, told = _play(state_env, 8, 2, move_at=AT, move_to=there)
    assert told == [False] * (AT + 1) + [True] * 5
    np.testing.assert_allclose(states[AT + 1, CUBE], wanted, atol=2e-3)  # its turn included
    still, _ = _play(state_env, 8, 2)
    np.testing.assert_array_equal(states[: AT + 1], still[: AT + 1])
    for wrong, message in (
        ({"move_to": there}, "expected move_at"),
        ({"move_at": 3, "by": 0.1, "move_to": there}, "expected move_at"),
        ({"move_at": 3, "move_to": [0.0]}, "expected an object pose of 3 numbers"),
        ({"move_at": -1, "move_to": there}, "got -1"),
    ):
        with pytest.raises(ConfigError, match=message):
            state_env.reset(options=wrong)


@pytest.mark.sim
def test_directions_differ_and_repeat(state_env: RobosuiteEnv) -> None:
    first, second, again = (_play(state_env, 4, seed, move_at=0, by=BY)[0] for seed in (1, 2, 1))
    np.testing.assert_array_equal(again, first)
    one, other = ((s[-1, CUBE] - s[0, CUBE])[:2] for s in (first, second))
    assert np.linalg.norm(one - other) > 0.01
    start = state_env.initial_state()
    np.testing.assert_array_equal(start.sim_state, first[0])
    replayed, _ = _play(state_env, 4, 1, move_at=0, by=BY, split="replay", initial_state=start)
    np.testing.assert_array_equal(replayed, first)


@pytest.mark.sim
def test_an_event_is_over_with_its_episode(state_env: RobosuiteEnv) -> None:
    still, _ = _play(state_env, 4, 5)
    _play(state_env, 1, 5, move_at=2, by=BY)
    np.testing.assert_array_equal(_play(state_env, 4, 5)[0], still)
    assert "moved" not in state_env.advance(_hold(state_env))[3]


@pytest.mark.sim
def test_what_leaves_the_range_goes_least_far(state_env: RobosuiteEnv) -> None:
    """30 cm fit into the range from few places; elsewhere the cube ends as near to it as a direction allows."""
    for seed in range(6):
        states, told = _play(state_env, 4, seed, move_at=2, by=0.3)
        assert told[-1]
        before, after = states[0, CUBE][:2], states[-1, CUBE][:2]
        nearest = np.linalg.norm(np.maximum(np.abs(after) - 0.14, 0))
        angles = np.linspace(-np.pi, np.pi, 400)
        ends = before + 0.3 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        assert nearest <= np.linalg.norm(np.maximum(np.abs(ends) - 0.14, 0), axis=1).min() + 0.05


@pytest.mark.sim
def test_a_lifted_or_thrown_cube_is_left_alone(state_env: RobosuiteEnv) -> None:
    state_env.reset(seed=0)
    start = state_env.initial_state()
    raised = start.sim_state.copy()
    raised[CUBE.start + 2] += 0.03  # m: it falls, and is no longer where it began when the event is due
    options = {"split": "replay", "initial_state": type(start)(raised, start.object_pose)}
    states, told = _play(state_env, 6, 0, **options)
    fallen, told_of = _play(state_env, 6, 0, **options, move_at=5, by=BY)
    assert told_of == told == [False] * 7
    np.testing.assert_array_equal(fallen, states)


@pytest.mark.sim
def test_a_held_cube_is_left_alone(state_env: RobosuiteEnv) -> None:
    def grasped(**options: Any) -> tuple[Float64, list[bool]]:
        told = [state_env.reset(seed=3, options=options)[1].get("moved", False)]
        states, poses = [state_env.sim_state()], state_env.privileged()
        over = poses["cube_position"] + np.array([0, 0, 0.08])
        for step in range(40):
            place = over if step < 15 else poses["cube_position"]
            action = np.concatenate([place, _hold(state_env)[3:9], [-1.0 if step < 30 else 1.0]]).astype(np.float32)
            told.append(state_env.advance(action)[3].get("moved", False))
            states.append(state_env.sim_state())
        return np.stack(states), told

    plain, _ = grasped()
    assert np.abs(plain[-1, CUBE][2] - plain[0, CUBE][2]) < 0.01  # still on the table
    held, told = grasped(move_at=38, by=BY)
    assert not any(told)
    np.testing.assert_array_equal(held, plain)
    moved, told = grasped(move_at=5, by=BY)
    assert told[-1]
    assert not np.array_equal(moved, plain)


@pytest.mark.sim
def test_nothing_is_shifted_into_something_else(state_env: RobosuiteEnv) -> None:
    """With the open gripper around the cube, directions that end in a finger are left out."""
    state_env.reset(seed=3)
    poses, reached = state_env.privileged(), False
    over = poses["cube_position"] + np.array([0, 0, 0.08])
    for step in range(32):
        place = over if step < 15 else poses["cube_position"]
        state_env.advance(np.concatenate([place, _hold(state_env)[3:9], [-1.0]]).astype(np.float32))
    simulator, state = state_env._simulator, state_env.sim_state()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        shift = Shift(simulator, LiftScene(), state_env.placement, 0, 0.04, rng)
        blocked = [shift._overlaps(shift._after(step)) for step in shift._steps]
        chosen = shift._choose()
        assert chosen is not None
        assert not shift._overlaps(shift._after(chosen))
        reached |= any(blocked)
    assert reached  # some of the directions were blocked, so the test can fail
    np.testing.assert_array_equal(state_env.sim_state(), state)  # looking for a place changes nothing
