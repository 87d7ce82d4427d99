"""Which demonstration was found first, and whether it was the right one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from altbench.core.errors import ConfigError
from altbench.stats.lookups import begun_from, first_lookup_right, first_match


def decisions(rows):
    """A frame of decisions from (key, episode, step, matches)."""
    return pd.DataFrame(rows, columns=["key", "episode", "step", "matches"])


def test_the_first_match_is_the_nearest_of_the_first_decision_in_whatever_order_rows_come():
    frame = decisions(
        [
            ("b", 0, 8, [[5, 1]]),
            ("b", 0, 0, [np.array([7, 2]), np.array([5, 0])]),
            ("a", 1, 0, np.array([[3, 0]])),
            ("a", 0, 0, [[9, 4]]),
        ]
    )
    assert first_match(frame).to_dict() == {("a", 0): 9, ("a", 1): 3, ("b", 0): 7}


def test_policies_that_look_nothing_up_have_no_first_match():
    frame = decisions([("a", 0, 0, []), ("a", 0, 8, [[1, 0]]), ("a", 1, 0, None)])
    assert len(first_match(frame)) == len(first_lookup_right(frame, [4, 5])) == 0


def test_episodes_begin_from_the_demonstrations_in_turn():
    assert begun_from([0, 1, 2, 3, 7], [4, 9, 2]) == [4, 9, 2, 4, 9]
    with pytest.raises(ConfigError, match="expected the demonstrations"):
        begun_from([0], [])


def test_a_first_lookup_is_right_if_it_found_what_the_episode_began_from():
    frame = decisions([("a", e, 0, [[d, 0]]) for e, d in enumerate([4, 4, 2, 4])])
    assert first_lookup_right(frame, [4, 9, 2]).tolist() == [True, False, True, True]
