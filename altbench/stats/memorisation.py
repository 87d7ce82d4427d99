"""The paper's memorisation score S: does a policy generate its motion, or recall it?

S = 1 - s(tau_r, tau_1) / s(tau_1, tau_2) (He et al. 2025, section on memorisation).
tau_r is the policy's trajectory, tau_1 and tau_2 are the training trajectories nearest
and second nearest to it, and s is a distance (`altbench.stats.trajectories`). S is 1
for an exact replay and 0.5 half-way between two demonstrations. It is negative if the
policy's trajectory is farther from its nearest demonstration than the two nearest
demonstrations are from each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from altbench.core.errors import ConfigError
from altbench.core.types import Float64
from altbench.stats.trajectories import Distance

COINCIDE_M = 1e-6
"""Distance in metres below which two demonstrations count as the same.

S divides by their distance and then has no scale. Positions are float32, exact to about
1e-7 m, so that 1e-6 m is just above their rounding.
"""


@dataclass(frozen=True)
class Likeness:
    """One trajectory compared with the training trajectories; all distances in metres.

    `s`: the score, None if the two nearest demonstrations coincide. `nearest`,
    `second`: the numbers of these demonstrations. `to_nearest`, `to_second`: their
    distances from the trajectory; `between`: their distance from each other.
    `distances`: to each demonstration, in the order of the training set.
    """

    s: float | None
    nearest: int
    second: int
    to_nearest: float
    to_second: float
    between: float
    distances: tuple[float, ...]


class TrainingSet:
    """The trajectories that a policy was trained on, prepared for comparisons.

    `trajectories`: (T, D) each, in metres. `numbers`: their names in results
    (`Demonstration.index`). Raises ConfigError for fewer than two, since S needs a
    second nearest, and for a position that is not finite.
    """

    def __init__(self, trajectories: Sequence[Float64], numbers: Sequence[int], distance: Distance) -> None:
        if len(trajectories) < 2:
            raise ConfigError(f"the memorisation score S needs at least two demonstrations, got {len(trajectories)}")
        self.numbers, self.distance = tuple(numbers), distance
        self._prepared = [
            distance.prepare(_finite(trajectory, f"demonstration {n}"))
            for trajectory, n in zip(trajectories, self.numbers, strict=True)
        ]

    def audit(self, trajectory: Float64) -> Likeness:
        """Compare `trajectory` (T, D), T >= 1, with every training trajectory.

        Of two that are equally near, the first counts as the nearer one.
        """
        own = self.distance.prepare(_finite(trajectory, "trajectory"))
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


def _finite(trajectory: Float64, name: str) -> Float64:
    """Return `trajectory` as float64; ConfigError if a position is NaN or infinite."""
    points = np.asarray(trajectory, np.float64)
    if not np.isfinite(points).all():
        raise ConfigError(f"{name}: expected finite positions, got {int((~np.isfinite(points)).sum())} NaN or infinite")
    return points
