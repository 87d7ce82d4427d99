"""The tests of a comparison: over all cells, by policy, by cell, and of errors.

A false alarm must stay rare over all of them. Each of the four questions gets a quarter
of the error probability; within a question, p values are corrected after Holm.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from altbench.core.types import Int64
from altbench.report.compare.records import SIGNIFICANT, PairedResult
from altbench.stats.paired import PairedCounts, change_effect, holm, paired_difference_interval
from altbench.stats.power import detectable_drop, fewest_losses
from altbench.stats.sign_flip import can_decide, lowest_p, sign_flip_less

QUESTIONS = 4
"""Worse over all cells? More errors? Any policy worse? Any cell worse?"""
SHARE = SIGNIFICANT / QUESTIONS
"""The error probability of each question."""


@dataclass(frozen=True)
class _Group:
    """The pairs of one test, before the correction."""

    name: str
    counts: PairedCounts
    sizes: Int64
    """int64 (poses,): the pairs of each pose."""
    changes: Int64
    """int64 (clusters,): new successes minus base successes of each cluster with any."""
    clusters: str
    by_pose: Int64
    """int64 (poses,): new successes minus base successes of each pose."""
    losable: int
    """The most clusters that can get worse: poses by checkpoints with a base success."""

    @property
    def units(self) -> int:
        """The effective number of poses: (sum of sizes)² / sum of squared sizes."""
        return max(1, int(self.counts.total**2 / int((self.sizes**2).sum())))

    @property
    def effect(self) -> float:
        """The design effect: the variance of the change over that of independent pairs.

        It is kept between 1 and total / units, where each pose changes as a whole. The
        largest is taken if nothing changed.
        """
        differ = self.counts.only_first + self.counts.only_second
        return change_effect(differ, self.counts.total, self.by_pose, self.sizes)


def overall(pairs: pd.DataFrame) -> PairedResult:
    """Test success over all cells."""
    return _corrected([_group("all cells", pairs)])[0]


def unbroken(pairs: pd.DataFrame) -> PairedResult:
    """Test over all cells how many episodes end without an error of the policy's own."""
    change = pairs["unbroken_new"].to_numpy(np.int64) - pairs["unbroken_base"].to_numpy(np.int64)
    ended = pairs.assign(won_base=pairs["unbroken_base"], won_new=pairs["unbroken_new"], change=change)
    return _corrected([_group("episodes without an error", ended)])[0]


def by(pairs: pd.DataFrame, column: str) -> tuple[PairedResult, ...]:
    """Test success in each group of `column`: "label" or "name"."""
    return tuple(_corrected([_group(str(name), group) for name, group in pairs.groupby(column, sort=False)]))


def _group(name: str, pairs: pd.DataFrame) -> _Group:
    first, second = pairs["won_base"].to_numpy(bool), pairs["won_new"].to_numpy(bool)
    pose, change = pairs["pose"].to_numpy(np.int64), pairs["change"].to_numpy(np.int64)
    differ = change != 0
    by_pose = _sums(pose[differ], change[differ])
    # The choice depends on where episodes changed, not on the direction: it is fair.
    few = 0.5 ** len(by_pose) > SHARE
    clusters = "pose and checkpoint" if few else "pose"
    return _Group(
        name,
        PairedCounts.of(first, second),
        np.unique(pose, return_counts=True)[1].astype(np.int64),
        _sums(pairs["fit"].to_numpy(np.int64)[differ], change[differ]) if few else by_pose,
        clusters,
        _sums(pose, change),
        len(np.unique(pairs["fit"].to_numpy(np.int64)[first])),
    )


def _sums(clusters: Int64, values: Int64) -> Int64:
    """Return int64 (distinct clusters,): the sum of the values of each cluster."""
    _, places = np.unique(clusters, return_inverse=True)
    return np.bincount(places.ravel(), weights=values).astype(np.int64)


def _corrected(groups: list[_Group]) -> list[PairedResult]:
    able = can_decide([lowest_p(group.changes) for group in groups], SHARE)
    worse = [sign_flip_less(group.changes) for group in groups]
    better = [sign_flip_less(-group.changes) for group in groups]
    corrections = zip(_over_all(worse, able), _over_all(better, able), strict=True)
    rows = zip(groups, able, worse, corrections, strict=True)
    return [_result(group, decides, p, *both, sum(able)) for group, decides, p, both in rows]


def _over_all(p_values: Iterable[float], able: list[bool]) -> list[float]:
    """Return p values corrected within their question and over all questions."""
    kept = iter(holm([p for p, decides in zip(p_values, able, strict=True) if decides]))
    return [min(1.0, QUESTIONS * next(kept)) if decides else 1.0 for decides in able]


def _result(group: _Group, decides: bool, p: float, p_worse: float, p_better: float, tests: int) -> PairedResult:
    counts, units = group.counts, group.units
    low, high = paired_difference_interval(counts, effect=group.effect)
    level = SHARE / max(1, tests if decides else tests + 1)
    successes = counts.both + counts.only_first
    losses = fewest_losses(level)
    churn = min(int((group.by_pose < 0).sum()), int((group.by_pose > 0).sum())) / len(group.sizes)
    drop = detectable_drop(units, churn, level)
    return PairedResult(
        name=group.name,
        counts=counts,
        units=units,
        clusters=group.clusters,
        low=low,
        high=high,
        p=p,
        p_worse=p_worse,
        p_better=p_better,
        can_decide=decides,
        smallest=losses / counts.total if losses <= group.losable else None,
        detectable=None if drop is None or drop > successes / counts.total else drop,
    )
