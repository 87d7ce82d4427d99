"""A lookup that follows a demonstration: only later frames of the one that it found."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import numpy as np

from altbench.api import Float32, Int64, Spec, added
from altbench_policies.lookup.frames import Demonstrated
from altbench_policies.lookup.table import Lookup, Table


class FollowSpec(Spec):
    """Config of the lookup.

    `lookup`: "nearest" finds the nearest of all frames at each decision; "monotone"
    follows the demonstration that it found first. `least_progress`: by how many frames
    at least "monotone" advances at each decision. `margin`: by how much more similar
    another demonstration's frame must be for "monotone" to leave its own.

    `first_frames`: the frames at a demonstration's begin among which "monotone" seeks
    the first one, and that a key of its own for the first decision learns from.
    `score_against`: what the flag's score compares an image with: the frame that is
    "followed", or the nearest of "all" frames.
    """

    lookup: Literal["nearest", "monotone"] = added("nearest")
    least_progress: int = added(4, ge=1)
    margin: float = added(0.1, ge=0)
    first_frames: int = added(15, ge=2)
    score_against: Literal["followed", "all"] = added("followed")


class Follower:
    """The demonstrations that slots follow, and how far they have come.

    `top_k`: how many matches are reported.
    """

    def __init__(self, config: FollowSpec, top_k: int) -> None:
        self.config, self.top_k = config, top_k
        self._row: dict[int, int] = {}  # slot -> the row found last

    def reset(self, slots: Collection[int]) -> None:
        """Let each slot find a demonstration at its next decision."""
        for slot in slots:
            self._row.pop(slot, None)

    def follows(self, slot: int) -> bool:
        """Return whether `slot` has found a demonstration."""
        return slot in self._row

    def lookup(self, table: Table, keys: Float32, slots: Sequence[int], begun: Mapping[int, int]) -> Lookup:
        """Find each slot's frame for `keys` (B, D), and the `top_k` − 1 nearest frames besides.

        `begun`: slot -> place of the demonstration that it begins with. Slots that begin
        without one find the nearest frame of all.
        """
        found = [self._one(table, key, slot, begun.get(slot)) for key, slot in zip(keys, slots, strict=True)]
        rows, near = np.stack([rows for rows, _, _ in found]), np.stack([near for _, near, _ in found])
        closest = np.array([best for _, _, best in found], np.float32) if self.config.score_against == "all" else None
        return Lookup(rows, near, closest)

    def _one(self, table: Table, key: Float32, slot: int, begins: int | None) -> tuple[Int64, Float32, float]:
        """Return rows and similarities (k,), the followed frame first, and the nearest frame's similarity."""
        nearest = table.lookup(key[None], self.top_k)
        rows, near = nearest.rows[0], nearest.similarities[0]
        best = float(near[0])
        row, similarity = int(rows[0]), float(near[0])
        span = self._span(table.demonstrated, self._row.get(slot), begins)
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
            max(best, similarity),
        )

    def _span(self, shown: Demonstrated, last: int | None, begins: int | None) -> tuple[int, int] | None:
        """Return the rows [low, high) of the demonstration to follow; None: not found yet."""
        if last is not None:
            high = int(shown.last[last]) + 1
            return min(last + self.config.least_progress, high - 1), high
        if begins is None:
            return None
        low = int(np.flatnonzero(shown.frame == 0)[begins])
        return low, min(low + self.config.first_frames, int(shown.last[low]) + 1)
