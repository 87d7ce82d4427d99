"""What asynchronous environments gain: `python tests/envs/measure_vector.py`; not in the suite, wants two idle cores.

State-only Lift, two asynchronous environments in turn with one in this process, the same random actions: one action per
call, then chunks of eight. "Fastest" compares the fastest hundredth of the calls, which other processes disturb least.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

import altbench
from altbench.chunking import ChunkWrapper

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


def measure(name: str, wrappers: Sequence[Any], calls: int, episodes: int) -> None:
    """Print how many times the steps of one environment two make, and what a call costs this process."""
    alone: Any = gymnasium.make(ENV_ID, obs_type="state")
    for wrapper in wrappers:
        alone = wrapper(alone)
    options: dict[str, Any] = {"vectorization_mode": "async", "wrappers": list(wrappers), "obs_type": "state"}
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
    print(f"({one:.0f} and {two:.0f} us a call, of which this process works {own:.0f} us)", flush=True)


def main() -> None:
    """Measure both kinds, `--rounds` times in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--episodes", type=int, default=10, help="of each kind in a round")
    arguments = parser.parse_args()
    for _ in range(arguments.rounds):
        measure("single actions", (), STEPS, arguments.episodes)
        measure("chunks of 8", (chunked,), STEPS // CHUNK, arguments.episodes)


if __name__ == "__main__":
    main()
