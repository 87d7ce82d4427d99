"""Detectors fitted to ALT's training keys, and their scores under each condition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from altbench.core.types import Float64
from altbench.experiments.shared.detectors import Detector, Scorer
from altbench.experiments.shared.embeddings import EmbeddedEpisodes
from altbench.experiments.shared.matrix import Where, clean
from altbench.stats.rates import Rate, rate_of

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

    `threshold`: the calibrated one.
    """

    detector: Detector
    score: Scorer
    threshold: float
    embedded: Mapping[str, EmbeddedEpisodes]

    @cached_property
    def highest(self) -> dict[str, Float64]:
        """Each episode's highest score, by condition."""
        return {name: w.highest(self.score(w.keys)) for name, w in self.embedded.items()}

    def flagged(self, condition: str) -> Rate:
        """Return the share of episodes with a score above the threshold."""
        scores = self.highest[condition]
        return rate_of(int((scores > self.threshold).sum()), len(scores))

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
    first score; empty if none was embedded.
    """
    embedded = one.embedded.get(NEW_POSE)
    if embedded is None:
        return rate_of(0, 0)
    order = np.argsort(embedded.first(one.score(embedded.keys)), kind="stable")
    taken_on = embedded.success[order[: round(coverage * len(order))]]
    return rate_of(int(taken_on.sum()), len(taken_on))
