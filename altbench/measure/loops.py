"""The two loops that `altbench bench rollout` times: stock robosuite's, and altbench's.

They play in turn on the same core: whatever else slows the machine slows both alike.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np

from altbench.core import registry
from altbench.core.demonstration import RestorableTask
from altbench.core.errors import ContractError
from altbench.core.task import TaskEnv, TaskInfo, task_of
from altbench.core.types import Float32
from altbench.rollout.chunking import ChunkWrapper
from altbench.system.devices import require_renderer
from altbench.system.workers import worker_pool

Loop = Literal["robosuite", "altbench"]
Observed = Literal["images", "state"]

KINDS: tuple[Observed, ...] = ("images", "state")
"""What an episode's observations hold: both kinds are timed."""
STEPS = 60
"""Control steps of an episode: a demonstration of Lift has fewer."""
OBS_HORIZON, ACTION_HORIZON = 2, 8
"""Observations per decision and actions per decision: the policies' defaults."""
IMAGE_SIZE = (84, 84)
"""Height and width of images in pixels: the bench's default."""
REACH = 0.03
"""Standard deviation of commanded poses about the first, in m and in units of rot6d."""
PHYSICS = ("mj_step1", "mj_step2", "mj_step", "mj_kinematics", "mj_comPos", "mj_camlight")
"""MuJoCo's functions that count as physics."""
RENDERING = ("mjv_updateScene", "mjr_render", "mjr_readPixels")
"""MuJoCo's functions that count as rendering."""


@dataclass(frozen=True)
class Played:
    """One timed episode, in seconds.

    `wall_s` includes `reset_s`. `cpu_s`: processor time of all threads.
    """

    loop: Loop
    observed: Observed
    steps: int
    reset_s: float
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Shares:
    """Where the processor time of one episode of altbench's loop went, as fractions.

    `rest`: resets, observations and chunks.
    """

    observed: Observed
    physics: float
    controller: float
    rendering: float
    rest: float


@dataclass(frozen=True)
class Measured:
    """All timed episodes of `task`, the shares of altbench's loop, and the renderer."""

    task: str
    episodes: tuple[Played, ...]
    shares: tuple[Shares, ...]
    renderer: str


def measure(task: str, episodes: int) -> Measured:
    """Play `episodes` rounds of both loops with both kinds of observations.

    One round before them does not count. At last one episode of altbench's loop is
    played for each kind to find its shares.
    """
    renderer, rounds = require_renderer(), []
    # A process for each loop: robosuite frees OpenGL contexts that others still need.
    with worker_pool(1, _prepare, "robosuite", task) as stock, worker_pool(1, _prepare, "altbench", task) as ours:
        for seed in range(episodes + 1):
            for kind in KINDS:
                rounds.append([loop.schedule(_play, args=[kind, seed]).result() for loop in (stock, ours)])
        shares = tuple(ours.schedule(_shares, args=[kind]).result() for kind in KINDS)
    return Measured(task, tuple(played for pair in rounds[len(KINDS) :] for played in pair), shares, renderer)


_PLAYERS: dict[Observed, tuple[Callable[..., Played], Any]] = {}
"""A measuring process's function to play an episode, and its environment, by kind."""


def _prepare(loop: Loop, name: str) -> None:
    _on_one_core()
    if loop == "robosuite":
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # robosuite takes its numbers for those of EGL devices
    registry.select_backend()
    task = registry.task(name)
    for kind in KINDS:
        if loop == "altbench":
            _PLAYERS[kind] = _play_ours, _our_env(task, kind)
        else:
            native = task_of(_our_env(task, "state"))
            _PLAYERS[kind] = _play_stock, _stock_env(native, kind)


def _play(kind: Observed, seed: int) -> Played:
    play, env = _PLAYERS[kind]
    return play(env, kind, seed)


def _our_env(task: TaskInfo, observed: Observed) -> ChunkWrapper:
    options: dict[str, Any] = {"image_size": IMAGE_SIZE} if observed == "images" else {}
    obs_type = "pixels" if observed == "images" else "state"
    env = gymnasium.make(task.env_id, disable_env_checker=True, obs_type=obs_type, **options)
    return ChunkWrapper(env, OBS_HORIZON, ACTION_HORIZON, pixels=observed == "images")


def _stock_env(task: TaskEnv, observed: Observed) -> Any:
    """Make robosuite's own environment of the same task, with its defaults.

    Only the on-screen window is off.
    """
    import robosuite

    if not isinstance(task, RestorableTask):
        raise ContractError(f"{task.info.name}: expected a robosuite task (native_model), got {type(task).__name__}")
    native, (height, width) = task.native_model(), IMAGE_SIZE
    return robosuite.make(
        native.env_name,
        robots=list(native.robots),
        has_renderer=False,
        has_offscreen_renderer=observed == "images",
        use_camera_obs=observed == "images",
        camera_names=list(native.cameras.values()),
        camera_heights=height,
        camera_widths=width,
    )


def _play_stock(env: Any, observed: Observed, seed: int) -> Played:
    """Play an episode of small random moves, in robosuite's own actions."""
    rng, (low, high) = np.random.default_rng(seed), env.action_spec
    actions = np.clip(rng.normal(0, REACH, (STEPS, len(low))), low, high)
    with _stopwatch() as read:
        env.reset()
        reset_s, _ = read()
        for action in actions:
            env.step(action)
        return Played("robosuite", observed, STEPS, reset_s, *read())


def _play_ours(env: ChunkWrapper, observed: Observed, seed: int) -> Played:
    """Play an episode of small random moves about the first pose, in chunks."""
    with _stopwatch() as read:
        first, _ = env.reset(seed=seed)
        reset_s, _ = read()
        actions = _moves(first["agent_pos"][-1], env.action_space.shape or (), seed)
        for begin in range(0, STEPS, ACTION_HORIZON):
            env.step(actions[begin : begin + ACTION_HORIZON])
        return Played("altbench", observed, STEPS, reset_s, *read())


def _moves(agent_pos: Float32, chunk: tuple[int, ...], seed: int) -> Float32:
    """Return pose actions (STEPS, Da): each arm's pose in `agent_pos` (Dp,), and noise.

    The grippers stay open.
    """
    poses = np.stack([np.append(arm[:9], -1.0) for arm in np.split(agent_pos, chunk[1] // 10)]).reshape(-1)
    noise = np.random.default_rng(seed).normal(0, REACH, (STEPS, chunk[1]))
    return np.asarray(poses + noise, dtype=np.float32)


@contextmanager
def _stopwatch() -> Iterator[Callable[[], tuple[float, float]]]:
    """Yield a function that returns seconds since then: by the clock, and of the CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield lambda: (time.perf_counter() - wall, time.process_time() - cpu)


def _shares(observed: Observed) -> Shares:
    """Play one more episode with MuJoCo's functions and the control step timed."""
    import mujoco

    _, env = _PLAYERS[observed]
    spent = dict.fromkeys(("physics", "rendering", "step"), 0.0)
    places = [(mujoco, name, "physics") for name in PHYSICS] + [(mujoco, name, "rendering") for name in RENDERING]
    with _timed([*places, (task_of(env), "advance", "step")], spent):
        whole = _play_ours(env, observed, 0).cpu_s
    physics, rendering, controller = spent["physics"], spent["rendering"], spent["step"] - spent["physics"]
    part = [seconds / whole for seconds in (physics, controller, rendering)]
    return Shares(observed, part[0], part[1], part[2], 1 - sum(part))


@contextmanager
def _timed(places: Sequence[tuple[Any, str, str]], spent: dict[str, float]) -> Iterator[None]:
    """Add up the processor time of functions while the block runs.

    Each of `places` is (owner, name, part): seconds in the function are added to
    `spent[part]`.
    """
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
    for (owner, name, part), (_, _, original) in zip(places, originals, strict=True):
        setattr(owner, name, _counting(original, spent, part))
    try:
        yield
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


def _counting(function: Callable[..., Any], spent: dict[str, float], part: str) -> Callable[..., Any]:
    def counted(*args: Any, **kwargs: Any) -> Any:
        began = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            spent[part] += time.process_time() - began

    return counted


def _on_one_core() -> None:
    """Keep this process on one core, with the threads that OpenGL will start."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
