"""ALT's lookup that follows a demonstration: only later frames of the one that it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from altbench.api import CheckpointError, Float32, Int64
from altbench_policies.alt.config import AltSpec
from altbench_policies.lookup.frames import Demonstrated
from altbench_policies.lookup.table import Lookup, Table


@dataclass(frozen=True)
class FirstKey:
    """A linear map of a key to one by which demonstrations are told apart.

    `projection`: float32 (D, R). `shown`: float32 (E, R), the demonstrations' first
    frames.
    """

    projection: Float32
    shown: Float32

    @classmethod
    def of(cls, keys: Float32, demonstrated: Demonstrated, config: AltSpec) -> Self:
        """Fit it to `keys` (N, D) by Fisher's linear discriminant.

        Directions in which the first frames of one demonstration vary count little.
        """
        starts = np.flatnonzero(demonstrated.frame == 0)
        steps = np.minimum(starts[:, None] + np.arange(config.first_frames), demonstrated.last[starts][:, None])
        windows = keys[steps].astype(np.float64)
        centred = (windows - windows.mean(axis=1, keepdims=True)).reshape(-1, keys.shape[1])
        within = centred.T @ centred / len(centred)
        within += (config.shrinkage * np.trace(within) / len(within) + 1e-12) * np.eye(len(within))
        values, vectors = np.linalg.eigh(within)
        projection = (vectors / np.sqrt(values)).astype(np.float32)
        return cls(projection, keys[starts] @ projection)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build from what `arrays` returned; CheckpointError if it is missing."""
        if "first_projection" not in arrays or "first_shown" not in arrays:
            raise CheckpointError("expected first_projection.npy and first_shown.npy: it is of another configuration")
        return cls(arrays["first_projection"], arrays["first_shown"])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return name -> plain array, for a checkpoint."""
        return {"first_projection": self.projection, "first_shown": self.shown}

    @property
    def bytes(self) -> int:
        """The number of bytes held."""
        return self.projection.nbytes + self.shown.nbytes

    def nearest(self, key: Float32) -> int:
        """Return the demonstration whose first frame is nearest to `key` (D,)."""
        return int(np.square(self.shown - key @ self.projection).sum(axis=1).argmin())


class Follower:
    """The demonstrations that slots follow, and how far they have come."""

    def __init__(self, config: AltSpec) -> None:
        self.config = config
        self._row: dict[int, int] = {}  # slot -> the row found last

    def reset(self, slots: Sequence[int]) -> None:
        """Let each slot find a demonstration at its next decision."""
        for slot in slots:
            self._row.pop(slot, None)

    def lookup(self, table: Table, keys: Float32, slots: Sequence[int], first: FirstKey | None) -> Lookup:
        """Find each slot's frame for `keys` (B, D), and the `top_k` − 1 most similar frames besides.

        `first`: finds the demonstration at the first decision; None: the table does.
        """
        found = [self._one(table, key, slot, first) for key, slot in zip(keys, slots, strict=True)]
        return Lookup(np.stack([rows for rows, _ in found]), np.stack([near for _, near in found]))

    def _one(self, table: Table, key: Float32, slot: int, first: FirstKey | None) -> tuple[Int64, Float32]:
        nearest = table.lookup(key[None], self.config.top_k)
        rows, near = nearest.rows[0], nearest.similarities[0]
        row, similarity = int(rows[0]), float(near[0])
        span = self._span(table.demonstrated, key, self._row.get(slot), first)
        if span is not None:
            along = table.index.rows(*span) @ key
            elsewhere = table.demonstrated.episode[row] != table.demonstrated.episode[span[0]]
            leaves = slot in self._row and elsewhere and similarity > along.max() + self.config.margin
            if not leaves:
                row, similarity = span[0] + int(along.argmax()), float(along.max())
        self._row[slot] = row
        others = rows != row
        kept = len(rows) - 1
        return (
            np.append(row, rows[others][:kept]),
            np.append(np.float32(similarity), near[others][:kept]).astype(np.float32),
        )

    def _span(
        self, shown: Demonstrated, key: Float32, last: int | None, first: FirstKey | None
    ) -> tuple[int, int] | None:
        """Return the rows [low, high) of the demonstration to follow; None: not found yet."""
        if last is not None:
            high = int(shown.last[last]) + 1
            return min(last + self.config.least_progress, high - 1), high
        if first is None:
            return None
        low = int(np.flatnonzero(shown.frame == 0)[first.nearest(key)])
        return low, min(low + self.config.first_frames, int(shown.last[low]) + 1)
