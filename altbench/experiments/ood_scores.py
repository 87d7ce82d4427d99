"""Detectors fitted to ALT's training keys, and their scores under each condition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from altbench.core.types import Float64, Int64
from altbench.experiments.shared.detectors import Detector, Scored, Scorer
from altbench.experiments.shared.embeddings import EmbeddedEpisodes
from altbench.experiments.shared.matrix import Where, clean
from altbench.stats.rates import Rate, clustered_rate, rate_of

LATE = 12
"""Control step from which a late photograph replaces the image.

It lies within a chunk of 8 steps, so that a policy sees it four steps later.
"""
NEW_POSE = "new pose (uniform)"
"""The condition with poses between the demonstrated ones."""
CONDITIONS: dict[str, Where] = {
    "recall": clean("recall"),
    "photograph": {"split": "recall", "perturbation": "photograph", "severity": 5},
    f"photograph from step {LATE}": {"split": "recall", "perturbation": f"photograph@step{LATE}", "severity": 5},
    "blended photograph": {"split": "recall", "perturbation": "photograph", "severity": 3},
    "occlusion": {"split": "recall", "perturbation": "occlusion", "severity": 5},
    NEW_POSE: clean("uniform"),
}
"""What is compared: name of a condition -> its episodes."""


@dataclass(frozen=True)
class Fitted:
    """A detector fitted to the training keys, and the embedded episodes by condition.

    `threshold`: the calibrated one. `poses`: the initial pose of each embedded episode, by
    condition; the same pose has the same number under each.
    """

    detector: Detector
    score: Scorer
    threshold: float
    embedded: Mapping[str, EmbeddedEpisodes]
    poses: Mapping[str, Int64]

    @cached_property
    def highest(self) -> dict[str, Float64]:
        """Each episode's highest score, by condition."""
        return {name: w.highest(self.score(w.keys)) for name, w in self.embedded.items()}

    def scored(self, condition: str) -> Scored:
        """Return the highest scores of a condition's episodes, with their poses."""
        return Scored(self.highest[condition], self.poses[condition])

    def flagged(self, condition: str) -> Rate:
        """Return the share of episodes with a score above the threshold, over poses."""
        return clustered_rate(self.highest[condition] > self.threshold, self.poses[condition])

    def delays(self, condition: str, begin: int) -> Float64:
        """Return the control steps from `begin` to the first flagged decision after it.

        Only episodes with such a decision have one.
        """
        w = self.embedded[condition]
        flags = (self.score(w.keys) > self.threshold) & (w.step >= begin)
        firsts = [w.step[flags & (w.episode == e)] for e in range(len(w.success))]
        return np.array([float(steps[0] - begin) for steps in firsts if len(steps)])


def selective(one: Fitted, coverage: float) -> Rate:
    """Return success over the share `coverage` of `uniform` episodes with the lowest
    first score, over poses; empty if none was embedded.
    """
    embedded = one.embedded.get(NEW_POSE)
    if embedded is None:
        return rate_of(0, 0)
    order = np.argsort(embedded.first(one.score(embedded.keys)), kind="stable")
    taken_on = order[: round(coverage * len(order))]
    return clustered_rate(embedded.success[taken_on], one.poses[NEW_POSE][taken_on])
