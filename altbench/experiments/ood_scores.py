"""Detectors fitted to ALT's training keys, and their scores of what was watched under each condition."""

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
"""Control step from which a late photograph replaces the image: within a chunk of 8, so seen four steps later."""
NEW_POSE = "new pose (uniform)"
CONDITIONS: dict[str, Where] = {
    "recall": clean("recall"),
    "photograph": {"split": "recall", "perturbation": "photograph", "severity": 5},
    f"photograph from step {LATE}": {"split": "recall", "perturbation": f"photograph@step{LATE}", "severity": 5},
    "blended photograph": {"split": "recall", "perturbation": "photograph", "severity": 3},
    "occlusion": {"split": "recall", "perturbation": "occlusion", "severity": 5},
    NEW_POSE: clean("uniform"),
}


@dataclass(frozen=True)
class Fitted:
    """A detector fitted to the training keys, with its calibrated threshold, and what was watched under each condition."""

    detector: Detector
    score: Scorer
    threshold: float
    embedded: Mapping[str, EmbeddedEpisodes]

    @cached_property
    def highest(self) -> dict[str, Float64]:
        """Condition -> each episode's highest score."""
        return {name: w.highest(self.score(w.keys)) for name, w in self.embedded.items()}

    def flagged(self, condition: str) -> Rate:
        """Episodes with a score above the threshold."""
        scores = self.highest[condition]
        return rate_of(int((scores > self.threshold).sum()), len(scores))

    def delays(self, condition: str, begin: int) -> Float64:
        """Control steps from `begin` to the first flagged decision not before it, of the episodes that have one."""
        w = self.embedded[condition]
        flags = (self.score(w.keys) > self.threshold) & (w.step >= begin)
        firsts = [w.step[flags & (w.episode == e)] for e in range(len(w.success))]
        return np.array([float(steps[0] - begin) for steps in firsts if len(steps)])


def selective(one: Fitted, coverage: float) -> Rate:
    """Success over the `coverage` of the `uniform` episodes whose first score is lowest; empty where none was watched."""
    embedded = one.embedded.get(NEW_POSE)
    if embedded is None:
        return rate_of(0, 0)
    order = np.argsort(embedded.first(one.score(embedded.keys)), kind="stable")
    taken_on = embedded.success[order[: round(coverage * len(order))]]
    return rate_of(int(taken_on.sum()), len(taken_on))
