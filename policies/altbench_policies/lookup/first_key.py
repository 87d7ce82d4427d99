"""A lookup's first key: which demonstration an episode begins as, whatever the arm's noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from altbench.api import CheckpointError, Float32
from altbench_policies.lookup.frames import Demonstrated


@dataclass(frozen=True)
class FirstKey:
    """The demonstrations' first frames by a key that tells them apart.

    `shown`: float32 (E, R). The key is the lookup's own times `projection`, float32 (D,
    R); without one it is made by a network of its own.
    """

    shown: Float32
    projection: Float32 | None = None

    @classmethod
    def whitened(cls, keys: Float32, demonstrated: Demonstrated, first_frames: int, shrinkage: float) -> Self:
        """Fit a projection to `keys` (N, D) by Fisher's linear discriminant.

        Directions in which the first `first_frames` frames of one demonstration vary
        count little. `shrinkage`: the share of the mean variance that is added.
        """
        starts = np.flatnonzero(demonstrated.frame == 0)
        steps = np.minimum(starts[:, None] + np.arange(first_frames), demonstrated.last[starts][:, None])
        windows = keys[steps].astype(np.float64)
        centred = (windows - windows.mean(axis=1, keepdims=True)).reshape(-1, keys.shape[1])
        within = centred.T @ centred / len(centred)
        within += (shrinkage * np.trace(within) / len(within) + 1e-12) * np.eye(len(within))
        values, vectors = np.linalg.eigh(within)
        projection = (vectors / np.sqrt(values)).astype(np.float32)
        return cls(keys[starts] @ projection, projection=projection)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], projected: bool) -> Self:
        """Build from what `arrays` returned; `projected`: whether there is a projection.

        Raises CheckpointError if something is missing.
        """
        names = ("first_shown", "first_projection") if projected else ("first_shown",)
        if any(name not in arrays for name in names):
            raise CheckpointError(f"expected {names[-1]}.npy: it is of another configuration")
        return cls(arrays["first_shown"], arrays["first_projection"] if projected else None)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return name -> plain array, for a checkpoint."""
        own = {"first_shown": self.shown}
        return own if self.projection is None else {**own, "first_projection": self.projection}

    @property
    def bytes(self) -> int:
        """The number of bytes of the first frames' keys and the projection."""
        return sum(array.nbytes for array in self.arrays().values())

    def project(self, keys: Float32) -> Float32:
        """Return the first keys (B, R) of learned ones (B, D), if there is a projection."""
        return keys if self.projection is None else keys @ self.projection

    def ambiguity(self, key: Float32) -> float:
        """Return how much nearer to `key` (R,) the nearest first frame is than the second nearest.

        It is the ratio of their squared distances: 0 on a first frame, 1 between two.
        With one demonstration it is 1.
        """
        distances = np.sort(np.square(self.shown - key).sum(axis=1, dtype=np.float64))
        if len(distances) < 2 or not distances[1]:
            return 1.0
        return float(distances[0] / distances[1])

    def nearest(self, key: Float32) -> int:
        """Return the place of the demonstration whose first frame is nearest to `key` (R,)."""
        return int(np.square(self.shown - key).sum(axis=1).argmin())
