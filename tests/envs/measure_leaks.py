"""Memory, open files and child processes over a thousand episodes: `python tests/envs/measure_leaks.py`; not in the suite.

First Lift state-only, every other episode random actions up to the horizon and the expert's; then resets with images.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import psutil

from altbench.core import registry

WARM_UP = 20  # episodes in which what is allocated once is allocated
REPORTS = 5


def resources() -> tuple[float, int, int]:
    """Resident memory (MiB), open file descriptors and child processes of this process."""
    gc.collect()
    me = psutil.Process()
    return me.memory_info().rss / 2**20, len(list(Path("/proc/self/fd").iterdir())), len(me.children(recursive=True))


def play(env: Any, expert: Any, seed: int) -> int:
    """One whole episode of random actions (even seeds) or of the expert's; its control steps."""
    env.reset(seed=seed)
    env.action_space.seed(seed)
    expert.reset(env, seed)
    steps, done = 0, False
    while not done:
        action = expert.act(env) if seed % 2 else env.action_space.sample()
        _, terminated, truncated, _ = env.advance(action)
        steps, done = steps + 1, terminated or truncated
    return steps


def measure(what: str, each: Callable[[int], object], episodes: int) -> None:
    """Call `each` with 0, 1, ... and print what this process holds after the warm-up, in between, and at the end."""
    began = time.perf_counter()
    points = {WARM_UP + (episodes - WARM_UP) * i // REPORTS for i in range(REPORTS + 1)}
    for done in range(1, episodes + 1):
        each(done - 1)
        if done in points:
            memory, files, children = resources()
            spent = time.perf_counter() - began
            print(f"{what} {done}: {memory:.1f} MiB, {files} files, {children} children, {spent:.0f} s", flush=True)


def main() -> None:
    """Measure `--episodes` of each kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=1000)
    episodes = parser.parse_args().episodes
    task = registry.task("Lift")
    env = gymnasium.make(task.env_id, obs_type="state", disable_env_checker=True)
    expert = registry.expert("Lift")
    steps: list[int] = []
    measure("state-only episode", lambda seed: steps.append(play(env.unwrapped, expert, seed)), episodes)
    print(f"{sum(steps)} control steps")
    env.close()
    env = gymnasium.make(task.env_id, obs_type="pixels", disable_env_checker=True)
    measure("reset with images", lambda seed: env.reset(seed=seed), episodes)
    env.close()


if __name__ == "__main__":
    main()
