"""Which episodes begin from the same pose of the object: they are not independent.

A split that repeats its poses (`replay`, `recall`, `grid`, `interpolate`) asks a policy
the same question again, with other noise in the arm's start. Its episodes come in
clusters, and their number says how much is known.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any

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
    kinds = [_numbered(frame[name]) for name in ("task", "split") if name in frame]
    keys = [numbers for numbers, _ in kinds]
    place = np.full(len(frame), -1)
    if len(kinds) == 2:
        (task, tasks), (split, splits) = kinds
        both = task * len(splits) + split
        for one in np.unique(both):
            rows = np.flatnonzero(both == one)
            place[rows] = _places(str(tasks[one // len(splits)]), str(splits[one % len(splits)]), frame, rows)
    # An episode with a pose of its own is known by its seed and its number.
    own = [np.where(place < 0, _numbered(frame[name])[0], 0) for name in ("seed", "episode") if name in frame]
    return pd.Series(_groups([*keys, place, *own]), frame.index)


def _numbered(column: pd.Series[Any]) -> tuple[Int64, list[object]]:
    """Return a number for each value, in the values' order, and the values; a missing one is the last.

    Splits that differ in their event alone are one. Whole numbers are their own numbers.
    """
    if column.dtype == np.int64:
        return column.to_numpy(), []
    numbers, values = pd.factorize(column)
    starts = [start_of(value) if column.name == "split" else value for value in values]
    known = sorted(set(starts))
    place = {value: i for i, value in enumerate(known)}
    return np.array([*(place[value] for value in starts), len(known)], np.int64)[numbers], [*known, None]


def _groups(keys: Sequence[Int64]) -> Int64:
    """Return the number of each row's group: rows with the same keys, in the order of the keys."""
    order = np.lexsort(keys[::-1])
    new = np.any([np.diff(key[order]) != 0 for key in keys], axis=0)
    found = np.empty(len(order), np.int64)
    found[order] = np.concatenate([[0], np.cumsum(new)])
    return found


def repeats_poses(frame: pd.DataFrame) -> bool:
    """Return whether some episodes of `frame` begin from the same pose."""
    return bool(initial_poses(frame).duplicated().any())


def start_of(split: object) -> str:
    """Return the split without its event, which leaves the initial pose as it is.

    `recall+move15by0.08` begins as `recall` does.
    """
    return str(split).partition("+")[0]


def _places(task: str, split: str, frame: pd.DataFrame, rows: Int64) -> Int64:
    """Return the pose of each episode of a task's split, in `rows`; -1: a pose of its own."""
    info, episodes = _info(task), frame["episode"].to_numpy(np.int64)[rows]
    if info is None:
        return np.full(len(rows), -1)
    if split in SHOWN and "n" in frame:
        seeds = map(_data_seed, frame["spec_json"].iloc[rows]) if "spec_json" in frame else repeat(0)
        n = frame["n"].to_numpy(np.int64)[rows]
        held = np.fmax(n, frame["collected"].to_numpy()[rows] if "collected" in frame else n.max())
        shown = zip(episodes.tolist(), n.tolist(), held.tolist(), seeds, strict=False)
        return np.array([_poses(n, int(file), info.grid_size, seed)[e % n] for e, n, file, seed in shown], np.int64)
    repeated = {"grid": info.grid_size, "interpolate": info.midpoints}.get(split, 0)
    return episodes % repeated if repeated else np.full(len(rows), -1)


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
