"""Which demonstration a lookup policy found first, and whether it was the right one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from altbench.core.errors import ConfigError

EPISODE = ["key", "episode"]
"""The columns that name an episode in frames of records."""


def first_match(decisions: pd.DataFrame) -> pd.Series:
    """Return the demonstration that each episode's first decision found, by (key, episode).

    `decisions`: as `altbench.results.frames.load_decisions` returns them. The values are
    `Demonstration.index`. Episodes whose first decision has no match are left out, as are
    those of policies that look nothing up.
    """
    first = decisions.sort_values([*EPISODE, "step"], kind="stable").groupby(EPISODE, sort=True).head(1)
    found = first[[_has_match(matches) for matches in first["matches"]]]
    index = pd.MultiIndex.from_frame(found[EPISODE])
    return pd.Series([int(matches[0][0]) for matches in found["matches"]], index, dtype="int64", name="demonstration")


def begun_from(episodes: Sequence[int], starts: Sequence[int]) -> list[int]:
    """Return the demonstration that each of `episodes` of `recall` or `replay` began from.

    `episodes`: their numbers. `starts`: `Demonstration.index` of the N demonstrations of
    the checkpoint, in the order of `Run.demonstrations`: episodes take them in turn.
    """
    if len(starts) == 0:
        raise ConfigError("expected the demonstrations that episodes begin from, got none")
    return [int(starts[episode % len(starts)]) for episode in episodes]


def first_lookup_right(decisions: pd.DataFrame, starts: Sequence[int]) -> pd.Series:
    """Return whether each episode's first lookup found the right demonstration.

    By (key, episode), bool. `decisions`: those of `recall` or `replay` cells of one task
    and N. `starts`: as in `begun_from`.
    """
    found = first_match(decisions)
    true = begun_from(found.index.get_level_values("episode").tolist(), starts)
    return pd.Series(found.to_numpy() == np.array(true, dtype=np.int64), found.index, dtype=bool, name="right")


def _has_match(matches: object) -> bool:
    return isinstance(matches, list | tuple | np.ndarray) and len(matches) > 0
