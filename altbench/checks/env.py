"""The contract of a task's environment as code; see `altbench.checks`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

from altbench.core import registry
from altbench.core.errors import ConfigError, ContractError, UnknownNameError
from altbench.core.task import TaskEnv, task_of
from altbench.core.types import Float32, Float64

STEPS = 6
"""The number of control steps in each trial."""
MOVE_AT, MOVE_BY = 2, 0.03
"""The tried event's control step and distance (m)."""


def check_env(env: str | gymnasium.Env[Any, Any]) -> None:
    """Check a task's environment, given as a Gymnasium id or as an object.

    An id may be that of a task that an installed package declares. An object must have
    been made with `obs_type="pixels"`. The check takes about 50 resets and 150 steps.
    Raise ContractError with the first fault, UnknownNameError for an unknown id.
    """
    made = _make(env) if isinstance(env, str) else env
    try:
        task = task_of(made)
        before = _global_state()
        _check_spaces(made, task)
        _check_step(made, task)
        _check_seeding(made, task)
        _check_splits(made, task)
        _check_move(made, task)
        _check_horizon(made, task)
        require(before == _global_state(), "the environment drew from numpy's global generator")
    finally:
        if isinstance(env, str):
            made.close()


def _make(env_id: str) -> gymnasium.Env[Any, Any]:
    """Make a task's environment, also of a package that was installed after `import altbench`."""
    registry.register_environments()
    try:
        return gymnasium.make(env_id)
    except gymnasium.error.UnregisteredEnv as error:
        known = sorted(name for name in gymnasium.registry if name.startswith("altbench/"))
        raise UnknownNameError("environment", env_id, known) from error


def _check_spaces(env: gymnasium.Env[Any, Any], task: TaskEnv) -> None:
    observation, _ = env.reset(seed=0)
    require(observation in env.observation_space, "reset: the observation is not in the observation space")
    info, mode = task.info, task.control_mode
    require_shape("action space", env.action_space.shape, (info.action_dim(mode),))
    require_shape("agent_pos", observation["agent_pos"].shape, (info.agent_pos_dim,))
    for key, space in (("action", env.action_space), ("agent_pos", _subspace(env, "agent_pos"))):
        finite = isinstance(space, gymnasium.spaces.Box) and bool(np.isfinite([space.low, space.high]).all())
        require(finite, f"{key}: expected a Box with finite bounds, got {space}")
    pixels = observation.get("pixels", {})
    if pixels:
        require(tuple(pixels) == tuple(info.cameras), f"pixels: expected {info.cameras}, got {tuple(pixels)}")
    for camera, image in pixels.items():
        good = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.flags.c_contiguous
        require(good, f"pixels[{camera!r}]: expected contiguous uint8 (H, W, 3), got {image.dtype} {image.shape}")


def _check_step(env: gymnasium.Env[Any, Any], task: TaskEnv) -> None:
    """Check that `step` is `advance`, then `observe`, and that images are optional."""
    actions = _actions(env, task)
    env.reset(seed=1)
    stepped = [env.step(a) for a in actions]
    env.reset(seed=1)
    for action, (observation, *outcome) in zip(actions, stepped, strict=True):
        advanced = task.advance(action)
        require(list(advanced[:3]) == outcome[:3], f"advance: expected {outcome[:3]} as step gave, got {advanced[:3]}")
        require("is_success" in advanced[3], "advance: expected info['is_success']")
        require(_equal(task.observe(), observation), "advance, then observe, must give what step gives")
    bare = task.observe(pixels=False)
    require(not bare.get("pixels"), "observe(pixels=False): expected no images")


def _check_seeding(env: gymnasium.Env[Any, Any], task: TaskEnv) -> None:
    actions = _actions(env, task)
    first = _states(env, task, actions, seed=2)
    require(np.array_equal(first, _states(env, task, actions, seed=2)), "the same seed must give the same states")
    other = _states(env, task, actions, seed=3)
    require(not np.array_equal(first[0], other[0]), "another seed must give another initial state")


def _check_splits(env: gymnasium.Env[Any, Any], task: TaskEnv) -> None:
    """Check every split of `info.splits`.

    Replay must be exact; recall must keep the objects and draw the robot's noise anew.
    """
    actions = _actions(env, task)
    recorded = _states(env, task, actions, seed=4)
    start = task.initial_state()
    require_shape("initial_state().object_pose", start.object_pose.shape, (len(task.info.pose_names),))
    for split in task.info.splits:
        options = {"split": split, "episode": 1, "initial_state": start}
        states = _states(env, task, actions, seed=5, options=options)
        if split == "replay":
            require(np.array_equal(states, recorded), "split 'replay': expected the recorded states, bit for bit")
        if split in ("recall", "replay"):
            kept = np.array_equal(task.initial_state().object_pose, start.object_pose)
            require(kept, f"split {split!r}: expected the demonstration's object pose")
        if split == "recall":
            require(not np.array_equal(states[0], recorded[0]), "split 'recall': expected fresh robot noise")
    refuses(lambda: env.reset(options={"split": "no_such_split"}), "reset: an unknown split")


def _check_move(env: gymnasium.Env[Any, Any], task: TaskEnv) -> None:
    """Check the event in mid-episode.

    It must change the states from its step on, in a repeatable way, and be recorded in
    `info`. Wrong options must be refused.
    """
    wanted: dict[str, Any] = {"move_at": MOVE_AT, "by": MOVE_BY}
    if not task.info.movable:
        refuses(lambda: env.reset(options=wanted), "reset: move_at and by, where the task is not movable,")
        return
    wrong = [{"by": MOVE_BY}, {"move_at": MOVE_AT}]
    wrong += [{**wanted, "move_at": at} for at in (-1, 1.5, max(task.info.horizon, task.episode_limit or 0))]
    wrong += [{**wanted, "by": by} for by in (0.0, -MOVE_BY, np.inf, np.nan, "far")]
    for options in wrong:
        refuses(lambda options=options: env.reset(options=options), f"reset: options {options}")  # type: ignore[misc]
    actions = _actions(env, task)
    still = _states(env, task, actions, seed=7)
    moved = _states(env, task, actions, seed=7, options=wanted)
    before = slice(0, MOVE_AT + 1)
    require(np.array_equal(moved[before], still[before]), f"move_at: expected no change before step {MOVE_AT}")
    changed = not np.array_equal(moved[MOVE_AT + 1], still[MOVE_AT + 1])
    require(changed, f"move_at: expected a change at step {MOVE_AT} (does the object rest where it begins?)")
    again = _states(env, task, actions, seed=7, options=wanted)
    require(np.array_equal(again, moved), "move_at: the same seed must give the same states")
    env.reset(seed=7, options=wanted)
    recorded = [task.advance(action)[3].get("moved") for action in actions]
    expected = [step >= MOVE_AT for step in range(len(actions))]
    require(recorded == expected, f"move_at: expected info['moved'] {expected}, got {recorded}")


def _check_horizon(env: gymnasium.Env[Any, Any], task: TaskEnv) -> None:
    """Check that an episode without success is truncated at its limit: the horizon."""
    limit = task.info.horizon if task.episode_limit is None else task.episode_limit
    env.reset(seed=6)
    action = _actions(env, task)[0]
    for step in range(1, limit + 1):
        _, terminated, truncated, _ = task.advance(action)
        if terminated:
            return
        require(
            truncated == task.is_over(step),
            f"expected truncated at step {limit} alone, got {truncated} at step {step}",
        )


def _actions(env: gymnasium.Env[Any, Any], task: TaskEnv) -> list[Float32]:
    """Return small moves: near the present pose in "ee_pose", near 0 in "ee_delta"."""
    space, rng = action_box(env), np.random.default_rng(0)
    env.reset(seed=0)
    middle: Float32 = np.clip(np.zeros(space.shape, np.float32), space.low, space.high)
    if task.control_mode == "ee_pose":
        agent_pos = task.observe(pixels=False)["agent_pos"].reshape(task.info.arms, -1)
        middle = np.concatenate([np.append(arm[:9], -1.0) for arm in agent_pos]).astype(np.float32)
    noise = rng.normal(0.0, 0.01, (STEPS, *middle.shape)).astype(np.float32)
    return [np.clip(middle + n, space.low, space.high) for n in noise]


def _states(
    env: gymnasium.Env[Any, Any],
    task: TaskEnv,
    actions: Sequence[Float32],
    *,
    seed: int,
    options: dict[str, Any] | None = None,
) -> Float64:
    """Return the states before and after each action, (len(actions) + 1, Ds)."""
    env.reset(seed=seed, options=options)
    states = [task.sim_state()]
    for action in actions:
        task.advance(action)
        states.append(task.sim_state())
    return np.stack(states)


def action_box(env: gymnasium.Env[Any, Any]) -> gymnasium.spaces.Box:
    """Return the action space; ContractError if it is not a Box."""
    space = env.action_space
    if not isinstance(space, gymnasium.spaces.Box):
        raise ContractError(f"action space: expected a Box, got {space}")
    return space


def _subspace(env: gymnasium.Env[Any, Any], key: str) -> Any:
    space = env.observation_space
    if not isinstance(space, gymnasium.spaces.Dict) or key not in space.spaces:
        raise ContractError(f"observation space: expected a Dict with {key!r}, got {space}")
    return space[key]


def _global_state() -> bytes:
    """Return the state of numpy's global generator."""
    state: dict[str, Any] = dict(np.random.get_state(legacy=False))["state"]
    return bytes(state["key"]) + int(state["pos"]).to_bytes(4, "little")


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return np.array_equal(one, other)


def require(condition: bool, fault: str) -> None:
    """Raise ContractError with `fault` unless `condition`."""
    if not condition:
        raise ContractError(fault)


def require_shape(what: str, came: Any, expected: Any) -> None:
    """Raise ContractError unless the two shapes agree."""
    require(tuple(came) == tuple(expected), f"{what}: expected shape {tuple(expected)}, got {tuple(came)}")


def refuses(act: Callable[[], object], what: str) -> None:
    """Raise ContractError unless `act` raises a ConfigError."""
    with contextlib.suppress(ConfigError):
        act()
        raise ContractError(f"{what} must be refused with a ConfigError")
