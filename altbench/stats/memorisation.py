"""Does a policy generate its motion, or recall it? The paper's memorisation score S of trajectories, in plain numpy.

S = 1 - s(tau_r, tau_1) / s(tau_1, tau_2) (He et al. 2025, section on memorisation): tau_r is what the policy did, tau_1
and tau_2 are the training trajectories nearest and second nearest to it, s a distance (`altbench.trajectories`). S is 1 for
an exact replay, 0.5 half-way between two demonstrations, and negative where the policy's trajectory is farther from any
demonstration than its two nearest ones are from each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from altbench.core.errors import ConfigError
from altbench.core.types import Float64
from altbench.stats.trajectories import Distance

COINCIDE_M = 1e-6
"""Two demonstrations nearer than this are one and the same, and S has no scale; positions are float32, good to 1e-7 m."""


@dataclass(frozen=True)
class Likeness:
    """One trajectory beside the training trajectories. `s`: the score; None where the two nearest coincide.

    `nearest`, `second`: numbers of demonstrations; `to_nearest`, `to_second`, `between` (those two from each other) and
    `distances` (to each demonstration, in the order of the training set): metres.
    """

    s: float | None
    nearest: int
    second: int
    to_nearest: float
    to_second: float
    between: float
    distances: tuple[float, ...]


class TrainingSet:
    """The trajectories a policy was trained on, ready to be compared with.

    `trajectories`: (T, D) each, metres; `numbers`: what to call them (`Demonstration.index`). ConfigError for fewer than
    two, since S needs a second nearest.
    """

    def __init__(self, trajectories: Sequence[Float64], numbers: Sequence[int], distance: Distance) -> None:
        if len(trajectories) < 2:
            raise ConfigError(f"S compares with two demonstrations, the policy was trained on {len(trajectories)}")
        self.numbers, self.distance = tuple(numbers), distance
        self._prepared = [distance.prepare(trajectory) for trajectory in trajectories]

    def audit(self, trajectory: Float64) -> Likeness:
        """How near `trajectory` (T, D), T >= 1, comes to the training trajectories; of equals the first is the nearer."""
        own = self.distance.prepare(trajectory)
        distances = [self.distance.between(own, other) for other in self._prepared]
        first, second = (int(i) for i in np.argsort(distances, kind="stable")[:2])
        between = self.distance.between(self._prepared[first], self._prepared[second])
        return Likeness(
            s=None if between < COINCIDE_M else 1.0 - distances[first] / between,
            nearest=self.numbers[first],
            second=self.numbers[second],
            to_nearest=distances[first],
            to_second=distances[second],
            between=between,
            distances=tuple(distances),
        )
