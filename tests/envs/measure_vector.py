"""What asynchronous environments gain: `python tests/envs/measure_vector.py`; not in the suite, wants two idle cores.

Lift, two asynchronous environments in turn with one in this process, the same random actions: state-only, one action per
call, then chunks of eight; then with images. "Fastest" compares the fastest hundredth of the calls, which other processes
disturb least. Last, two processes of their own beside one, as rollout workers are.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

import altbench
from altbench.rollout.chunking import ChunkWrapper

ENV_ID, ENVS, STEPS, CHUNK = "altbench/Lift-v0", 2, 80, 8
FASTEST = 1  # per cent
assert altbench.__version__  # importing it registers the ids


def chunked(env: gymnasium.Env[Any, Any]) -> ChunkWrapper:
    """`env`, taking eight actions in a call, as policies give them."""
    return ChunkWrapper(env, obs_horizon=2, action_horizon=CHUNK, pixels=False)


def timed(env: Any, calls: int, seed: int) -> tuple[list[float], list[float]]:
    """Seconds of each of `calls` steps of one episode: by the clock, and of this process's processor time."""
    env.reset(seed=seed)
    env.action_space.seed(seed)
    wall, cpu = [], []
    for _ in range(calls):
        action = env.action_space.sample()
        began, worked = time.perf_counter(), time.process_time()
        env.step(action)
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - worked)
    return wall, cpu


def measure(name: str, wrappers: Sequence[Any], calls: int, episodes: int, obs_type: str = "state") -> None:
    """Print how many times the steps of one environment two make, and what a call costs this process."""
    alone: Any = gymnasium.make(ENV_ID, obs_type=obs_type)
    for wrapper in wrappers:
        alone = wrapper(alone)
    options: dict[str, Any] = {"vectorization_mode": "async", "wrappers": list(wrappers), "obs_type": obs_type}
    several = gymnasium.make_vec(ENV_ID, num_envs=ENVS, **options)
    wall: dict[Any, list[float]] = {alone: [], several: []}
    cpu: dict[Any, list[float]] = {alone: [], several: []}
    for seed in range(episodes):
        for env in (alone, several):
            seconds, worked = timed(env, calls, seed)
            wall[env] += seconds
            cpu[env] += worked
    for env in (several, alone):
        env.close()
    whole = ENVS * sum(wall[alone]) / sum(wall[several])
    one, two = (1e6 * np.percentile(wall[env], FASTEST) for env in (alone, several))
    own = 1e6 * np.percentile(cpu[several], FASTEST)
    print(f"{name}: {whole:.2f} times the steps of one; fastest {ENVS * one / two:.2f}", end=" ")
    print(f"({one:.0f} and {two:.0f} us a call; this process works {own:.0f} us of it)", flush=True)


def work(rates: Any, together: Any, obs_type: str, steps: int) -> None:
    """Step an environment of this process's own, and say how many steps a second it made."""
    env: Any = gymnasium.make(ENV_ID, obs_type=obs_type)
    env.reset(seed=0)
    env.action_space.seed(0)
    env.step(env.action_space.sample())
    together.wait()
    began = time.perf_counter()
    for _ in range(steps):
        if env.step(env.action_space.sample())[3]:
            env.reset()
    rates.put(steps / (time.perf_counter() - began))
    env.close()


def processes(count: int, obs_type: str, steps: int) -> float:
    """Steps a second of `count` processes together."""
    context = multiprocessing.get_context("spawn")
    rates, together = context.Queue(), context.Barrier(count)
    workers = [context.Process(target=work, args=(rates, together, obs_type, steps)) for _ in range(count)]
    for worker in workers:
        worker.start()
    total = sum(rates.get() for _ in workers)
    for worker in workers:
        worker.join()
    return float(total)


def main() -> None:
    """Measure every kind, `--rounds` times in turn."""
    os.environ.setdefault("LP_NUM_THREADS", "0")  # as in the rollout workers: Mesa draws without threads of its own
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--episodes", type=int, default=10, help="of each kind in a round")
    arguments = parser.parse_args()
    for _ in range(arguments.rounds):
        measure("single actions", (), STEPS, arguments.episodes)
        measure("chunks of 8", (chunked,), STEPS // CHUNK, arguments.episodes)
        measure("with images", (), STEPS, max(1, arguments.episodes // 5), "pixels")
        for obs_type, steps in (("state", 1500), ("pixels", 150)):
            ratio = processes(ENVS, obs_type, steps) / processes(1, obs_type, steps)
            print(f"processes of their own, {obs_type}: {ratio:.2f} times the steps of one", flush=True)


if __name__ == "__main__":
    main()
