"""The order of splits in tables and figures: that in which tasks list them."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from altbench.core import registry


def splits_in_order(frame: pd.DataFrame) -> list[str]:
    """Return the splits in `frame`, in the order of `TaskInfo.splits`.

    `frame` has the columns `task` and `split`. A split with an event
    (`recall+move15by0.08`) comes after the split itself; splits that no task lists come
    last.
    """
    known = {split: i for i, split in enumerate(_listed(sorted(set(frame["task"]))))}
    return sorted(set(frame["split"]), key=lambda split: (known.get(split.partition("+")[0], len(known)), split))


def by_split(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `frame` sorted by split; within a split, order stays."""
    places = {split: i for i, split in enumerate(splits_in_order(frame))}
    return frame.sort_values("split", kind="stable", key=lambda splits: splits.map(places))


def _listed(tasks: Iterable[str]) -> list[str]:
    # A published run may have a task that is not installed here; it must be drawn, too.
    registered = set(registry.names("task"))
    splits = (split for task in tasks if task in registered for split in registry.task(task).splits)
    return list(dict.fromkeys(splits))
