"""`altbench bench rollout`: episodes per second of the stock robosuite loop and of ours, side by side on one core.

Each loop has a process of its own, because robosuite frees OpenGL contexts that others still need. The two play in turn
on the same core, so that whatever else slows the machine slows both alike.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
import pandas as pd
from rich.console import Console

from altbench.core import registry
from altbench.core.demonstration import RestorableTask
from altbench.core.errors import ContractError
from altbench.core.task import TaskEnv, TaskInfo, task_of
from altbench.core.types import Float32
from altbench.report.table import Block, Table, significant, write_table
from altbench.rollout.chunking import ChunkWrapper
from altbench.system import fingerprint

Loop = Literal["robosuite", "altbench"]
Observed = Literal["images", "state"]

KINDS: tuple[Observed, ...] = ("images", "state")
STEPS = 60
"""Control steps of an episode, as in a demonstration of Lift with time to spare."""
OBS_HORIZON, ACTION_HORIZON = 2, 8
IMAGE_SIZE = (84, 84)
REACH = 0.03
"""Standard deviation of the commanded pose about the starting one, in m and in units of rot6d."""
PHYSICS = ("mj_step1", "mj_step2", "mj_step", "mj_kinematics", "mj_comPos", "mj_camlight")
RENDERING = ("mjv_updateScene", "mjr_render", "mjr_readPixels")


@dataclass(frozen=True)
class Played:
    """One timed episode; `reset_s` and `wall_s`, which contains it, are seconds; `cpu_s` counts all threads."""

    loop: Loop
    observed: Observed
    steps: int
    reset_s: float
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Shares:
    """Where one of our episodes' processor time went, as fractions; `rest` is resets, observations and chunks."""

    observed: Observed
    physics: float
    controller: float
    rendering: float
    rest: float


@dataclass(frozen=True)
class Measured:
    """What the measuring process found for `task`: every episode, shares, and the OpenGL back end."""

    task: str
    episodes: tuple[Played, ...]
    shares: tuple[Shares, ...]
    renderer: str


# -------------------------------------------------------------------------------------------------------- the command


def rollout(console: Console, task: str, episodes: int, out: Path | None) -> None:
    """Measure `episodes` of each kind, print the table and write it into `out`."""
    registry.check_name("task", task)
    with console.status(f"{task}: {episodes + 1} rounds of four episodes, one of which takes 10 to 25 s"):
        measured = measure(task, episodes)
    made_by, table = fingerprint.collect(renderer=measured.renderer), rollout_table(measured)
    show(console, table)
    console.print(made_by.one_line(), style="dim")
    if out is not None:
        write_table(table, out, "rollout", made_by)
        console.print(f"tables in {out}", highlight=False)


def show(console: Console, table: Table) -> None:
    """Print `table` to the terminal."""
    for block in table.blocks:
        console.print(block.to_rich(f"{table.title}: {block.caption}"))
    console.print(table.note, style="dim")


def rollout_table(measured: Measured) -> Table:
    """Per kind of episode: median seconds, episodes per second and the stock loop's time over ours; our shares."""
    rows = [_row(measured, loop, observed) for observed in ("images", "state") for loop in ("robosuite", "altbench")]
    heads = {
        "observed": "observed",
        "loop": "loop",
        "episode_s": "s",
        "episodes_per_s": "per s",
        "step_ms": "step ms",
        "ratio": "× stock",
        "rounds": "rounds",
        "cpu_ratio": "CPU ×",
    }
    shown = [{**row, "rounds": f"{row['ratio_low']:.1f}–{row['ratio_high']:.1f}"} for row in rows]
    caption = f"{measured.task}, {rows[0]['episodes']} episodes of {STEPS} control steps, one core"
    timing = Block(caption, tuple(heads.values()), _texts(shown, heads))
    parts = {"observed": "observed", "physics": "physics", "controller": "controller"}
    parts |= {"rendering": "rendering", "rest": "the rest"}
    shares = Block("Where our time goes", tuple(parts.values()), _share_texts(measured.shares), names=1)
    note = (
        f"Medians; {OBS_HORIZON} observations per {ACTION_HORIZON} actions. Stock: hard resets, two {IMAGE_SIZE[0]}×"
        f"{IMAGE_SIZE[1]} cameras every step, robosuite's defaults. Rounds: least and most over rounds of one episode each. "
        "CPU: processor time, of which the shares are parts. "
        "Controller: all of a control step but MuJoCo's."
    )
    return Table("Rollouts", pd.DataFrame(rows), (timing, shares), note)


def _row(measured: Measured, loop: Loop, observed: Observed) -> dict[str, Any]:
    played, stock = (_of(measured, which, observed) for which in (loop, "robosuite"))
    episode, reset = (statistics.median(getattr(p, name) for p in played) for name in ("wall_s", "reset_s"))
    rounds = [theirs.wall_s / ours.wall_s for theirs, ours in zip(stock, played, strict=True)]
    shares = next((s for s in measured.shares if s.observed == observed and loop == "altbench"), None)
    return {
        "task": measured.task,
        "observed": observed,
        "loop": loop,
        "episodes": len(played),
        "steps": played[0].steps,
        "episode_s": episode,
        "cpu_s": statistics.median(p.cpu_s for p in played),
        "episodes_per_s": 1 / episode,
        "reset_s": reset,
        "step_ms": 1e3 * statistics.median((p.wall_s - p.reset_s) / p.steps for p in played),
        "ratio": statistics.median(p.wall_s for p in stock) / episode,
        "cpu_ratio": statistics.median(p.cpu_s for p in stock) / statistics.median(p.cpu_s for p in played),
        "ratio_low": min(rounds),
        "ratio_high": max(rounds),
        **{f"share_{name}": getattr(shares, name, None) for name in ("physics", "controller", "rendering", "rest")},
    }


def _of(measured: Measured, loop: str, observed: str) -> list[Played]:
    return [p for p in measured.episodes if (p.loop, p.observed) == (loop, observed)]


def _texts(rows: Sequence[dict[str, Any]], heads: dict[str, str]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(significant(v) if isinstance(v := row[h], float) else str(v) for h in heads) for row in rows)


def _share_texts(shares: Sequence[Shares]) -> tuple[tuple[str, ...], ...]:
    return tuple((s.observed, *(f"{100 * part:.0f} %" for part in dataclasses.astuple(s)[1:])) for s in shares)


# -------------------------------------------------------------------------------------------- the measuring processes


def measure(task: str, episodes: int) -> Measured:
    """Play `episodes` rounds of all four kinds after one that does not count, then one of each of ours for its shares."""
    renderer, rounds = registry.select_backend(), []
    with _process("robosuite", task) as stock, _process("altbench", task) as ours:
        for seed in range(episodes + 1):
            for kind in KINDS:
                rounds.append([loop.submit(_play, kind, seed).result() for loop in (stock, ours)])
        shares = tuple(ours.submit(_shares, kind).result() for kind in KINDS)
    return Measured(task, tuple(played for pair in rounds[len(KINDS) :] for played in pair), shares, renderer)


def _process(loop: Loop, task: str) -> ProcessPoolExecutor:
    """One process for one loop; "spawn", because a fork would share our OpenGL."""
    return ProcessPoolExecutor(1, get_context("spawn"), _prepare, (loop, task))


_PLAYERS: dict[Observed, tuple[Callable[..., Played], Any]] = {}
"""In a measuring process: how to play, and the environment to play in."""


def _prepare(loop: Loop, name: str) -> None:
    _on_one_core()
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
    """robosuite's own environment of the same task with its defaults; the console alone is off."""
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
    """An episode of small random moves, in robosuite's own actions."""
    rng, (low, high) = np.random.default_rng(seed), env.action_spec
    actions = np.clip(rng.normal(0, REACH, (STEPS, len(low))), low, high)
    with _stopwatch() as read:
        env.reset()
        reset_s, _ = read()
        for action in actions:
            env.step(action)
        return Played("robosuite", observed, STEPS, reset_s, *read())


def _play_ours(env: ChunkWrapper, observed: Observed, seed: int) -> Played:
    """An episode of small random moves about the starting pose, as a policy would command them."""
    with _stopwatch() as read:
        first, _ = env.reset(seed=seed)
        reset_s, _ = read()
        actions = _moves(first["agent_pos"][-1], env.action_space.shape or (), seed)
        for begin in range(0, STEPS, ACTION_HORIZON):
            env.step(actions[begin : begin + ACTION_HORIZON])
        return Played("altbench", observed, STEPS, reset_s, *read())


def _moves(agent_pos: Float32, chunk: tuple[int, ...], seed: int) -> Float32:
    """Pose actions (STEPS, Da): each arm's present pose, of `agent_pos` (Dp,), and noise; the grippers stay open."""
    poses = np.stack([np.append(arm[:9], -1.0) for arm in np.split(agent_pos, chunk[1] // 10)]).reshape(-1)
    noise = np.random.default_rng(seed).normal(0, REACH, (STEPS, chunk[1]))
    return np.asarray(poses + noise, dtype=np.float32)


@contextmanager
def _stopwatch() -> Iterator[Callable[[], tuple[float, float]]]:
    """Yields a function that tells the seconds since, by the clock and of processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield lambda: (time.perf_counter() - wall, time.process_time() - cpu)


# ------------------------------------------------------------------------------------------------------------- shares


def _shares(observed: Observed) -> Shares:
    """One more episode with MuJoCo's functions and the control step timed from outside."""
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
    """While open, seconds of processor time in each (owner, name) of `places` are added to `spent` under the third."""
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
    """Keep this process, and OpenGL's threads to come, on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
