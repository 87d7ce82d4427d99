"""Which episodes begin from the same pose of the object: they are not independent.

A split that repeats its poses (`replay`, `recall`, `grid`, `interpolate`) asks a policy
the same question again, with other noise in the arm's start. Its episodes come in
clusters, and their number says how much is known.
"""

from __future__ import annotations

import json
from functools import lru_cache

import numpy as np
import pandas as pd

from altbench.core import registry
from altbench.core.errors import AltbenchError
from altbench.core.task import TaskInfo
from altbench.core.types import Int64
from altbench.dataset.subsets import collected_order

SHOWN = ("replay", "recall", "calibrate")
"""Splits whose episodes take the demonstrations' poses in turn."""


def initial_poses(frame: pd.DataFrame) -> pd.Series[int]:
    """Return the number of each episode's initial pose, with the index of `frame`.

    `frame`: as `results.load_episodes` returns it. Two episodes have the same number if
    they have the same task and split, and begin from the same pose. Without the columns
    `task` and `split`, and in splits that draw a new pose each time, an episode is a
    pose of its own. Demonstrations are taken to be collected on the task's grid; others
    are counted as if they were. Of how many N are the first, the column `collected`
    says (`results.collected`); without it, of the largest N of the task and split.
    """
    if frame.empty:
        return pd.Series(0, frame.index, dtype=np.int64)
    names = [name for name in ("task", "split") if name in frame]
    start = frame.assign(split=[start_of(split) for split in frame["split"]]) if "split" in frame else frame
    place = pd.Series(-1, frame.index, dtype=np.int64)
    if len(names) == 2:
        for (task, split), group in start.groupby(["task", "split"]):
            place.loc[group.index] = _places(str(task), str(split), group)
    # An episode with a pose of its own is known by its seed and its number.
    own = [start[name].where(place < 0, 0) for name in ("seed", "episode") if name in frame]
    numbers = pd.concat([*(start[name] for name in names), place, *own], axis=1, keys=range(len(names) + 1 + len(own)))
    return numbers.groupby(list(numbers.columns)).ngroup()


def repeats_poses(frame: pd.DataFrame) -> bool:
    """Return whether some episodes of `frame` begin from the same pose."""
    return bool(initial_poses(frame).duplicated().any())


def start_of(split: object) -> str:
    """Return the split without its event, which leaves the initial pose as it is.

    `recall+move15by0.08` begins as `recall` does.
    """
    return str(split).partition("+")[0]


def _places(task: str, split: str, group: pd.DataFrame) -> Int64:
    """Return the pose of each episode of a task's split; -1: a pose of its own."""
    info, episodes = _info(task), group["episode"].to_numpy(np.int64)
    if info is None:
        return np.full(len(group), -1)
    if split in SHOWN and "n" in group:
        seeds = [_data_seed(text) for text in group["spec_json"]] if "spec_json" in group else [0] * len(group)
        held = group["n"].clip(lower=group["collected"] if "collected" in group else int(group["n"].max()))
        shown = zip(episodes, group["n"], held, seeds, strict=True)
        return np.array([_poses(int(n), int(file), info.grid_size, s)[e % int(n)] for e, n, file, s in shown], np.int64)
    repeated = {"grid": info.grid_size, "interpolate": info.midpoints}.get(split, 0)
    return episodes % repeated if repeated else np.full(len(group), -1)


def _info(task: str) -> TaskInfo | None:
    """Return what is known of a task; None for one that is not registered here."""
    try:
        return registry.task(task)
    except (AltbenchError, ImportError):
        return None


@lru_cache(maxsize=256)
def _poses(n: int, collected: int, grid_size: int, seed: int) -> tuple[int, ...]:
    return tuple(number % grid_size for number in collected_order(n, collected, grid_size, seed))


@lru_cache(maxsize=4096)
def _data_seed(specification: str) -> int:
    """Return the seed that orders a cell's demonstrations; 0 if it is not recorded."""
    return int(json.loads(specification).get("seed", 0)) if specification else 0
