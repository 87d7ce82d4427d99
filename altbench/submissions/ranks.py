"""Ranks on the leaderboard: groups that the episodes tell apart, as intervals."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pandas as pd

from altbench.stats.paired import holm, paired_tests
from altbench.stats.rates import RANKED_FROM

SIGNIFICANT = 0.05
"""A Holm-corrected p below this tells two rows apart."""


def rank_intervals(frames: Sequence[pd.DataFrame]) -> list[tuple[int, int]]:
    """Return the best and the worst rank of each row that its episodes leave possible.

    Each pair of rows is tested on the episodes that both played (exact sign-flip test
    over initial poses), corrected after Holm over all pairs. A row's best rank is 1 plus
    how many are significantly better, its worst the number of rows minus how many are
    significantly worse. Rows with fewer than `RANKED_FROM` common episodes are not told
    apart.
    """
    pairs = list(combinations(range(len(frames)), 2))
    tests = [paired_tests(frames[i], [frames[j]])[0] for i, j in pairs]
    better, worse = [0] * len(frames), [0] * len(frames)
    for (i, j), test, p in zip(pairs, tests, holm([one.p for one in tests]) if tests else [], strict=True):
        if p < SIGNIFICANT and test.gain and test.pairs >= RANKED_FROM:
            above, below = (i, j) if test.gain > 0 else (j, i)
            better[below] += 1
            worse[above] += 1
    return [(1 + above, len(frames) - below) for above, below in zip(better, worse, strict=True)]
