"""The lookup table of a policy, and the threshold that is calibrated on it.

The table has every training frame's key and its demonstration's next actions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from altbench.api import Float32, Int64
from altbench_policies.frames import Frames
from altbench_policies.lookup.frames import Demonstrated
from altbench_policies.lookup.index import IndexSpec, KeyIndex, recall_at_1


@dataclass(frozen=True)
class Lookup:
    """What was found for B keys, nearest first.

    `rows`: int64 (B, k). `similarities`: float32 (B, k) in [-1, 1]. `closest`: float32
    (B,), the similarity that the flag goes by; None: that of the first match.
    """

    rows: Int64
    similarities: Float32
    closest: Float32 | None = None


@dataclass(frozen=True)
class Table:
    """N frames: an index of their keys, and what followed each.

    `index`: the keys, of length 1; it is their only copy.
    """

    index: KeyIndex
    demonstrated: Demonstrated

    @classmethod
    def of(cls, frames: Frames, keys: Float32, spec: IndexSpec | None = None) -> Self:
        """Build the table of `frames` whose keys are `keys` (N, D).

        `spec`: how it is searched (None: exactly).
        """
        return cls(KeyIndex.of(keys, spec or IndexSpec()), Demonstrated.of(frames))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], spec: IndexSpec | None = None) -> Self:
        """Build from what `arrays` returned.

        Raises CheckpointError if an array is missing, or lengths differ.
        """
        index = KeyIndex.from_arrays(arrays, spec or IndexSpec())
        return cls(index, Demonstrated.from_arrays(arrays, len(index)))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return name -> plain array, everything that `from_arrays` needs."""
        return {**self.index.arrays(), **self.demonstrated.arrays()}

    @property
    def keys(self) -> Float32:
        """A copy of the keys, float32 (N, D)."""
        return self.index.keys

    @property
    def bytes(self) -> int:
        """The number of bytes held: keys, actions and bookkeeping."""
        return self.index.bytes + self.demonstrated.bytes

    def recall_at_1(self, keys: Float32) -> float:
        """Return how often the lookup finds what exact search finds.

        The search is among `keys` (N, D). The result is 1 if the lookup is exact.
        """
        return 1.0 if self.index.exact else recall_at_1(self.index, keys, self.demonstrated.episode)

    def lookup(self, keys: Float32, k: int) -> Lookup:
        """Find the `k` frames most similar to each of `keys` (B, D), by cosine.

        A table of fewer than `k` frames returns all. There is one search per key: in a
        batch FAISS sums in another order, and a near tie could fall differently.
        """
        count = min(k, len(self.index))
        if len(keys) == 1:
            similarities, rows = self.index.search(np.ascontiguousarray(keys), count)
            return Lookup(rows, similarities)
        found = [self.index.search(np.ascontiguousarray(key[None]), count) for key in keys]
        similarities = np.concatenate([s for s, _ in found]) if found else np.zeros((0, count), np.float32)
        rows = np.concatenate([r for _, r in found]) if found else np.zeros((0, count), np.int64)
        return Lookup(rows, similarities)


def leave_one_out_scores(table: Table, every: int) -> Float32:
    """Return each demonstration's highest out-of-distribution score against all others.

    float32 (number of demonstrations,). The score of a frame is 1 − its highest
    similarity to a frame of another demonstration. It is taken at the frames where
    decisions fall, `every` steps apart. With one demonstration the result is empty.
    """
    starts, keys, scores = np.flatnonzero(table.demonstrated.frame == 0), table.keys, []
    if len(starts) < 2:
        return np.zeros(0, np.float32)
    for start in starts:
        rows = np.arange(start, table.demonstrated.last[start] + 1)
        similarity = keys[rows[::every]] @ keys.T
        similarity[:, rows] = -np.inf
        scores.append(1 - similarity.max(axis=1).min())
    return np.asarray(scores, dtype=np.float32)


def first_frame_scores(table: Table) -> Float32:
    """Return the score that any two demonstrations' first frames have for each other.

    float32 (pairs,).
    """
    keys = table.keys[table.demonstrated.frame == 0]
    scores: Float32 = 1 - (keys @ keys.T)[np.triu_indices(len(keys), 1)]
    return scores


def conformal_threshold(scores: Float32, rate: float) -> float:
    """Return the score that a new episode exceeds with probability at most `rate`.

    Split conformal prediction: the ⌈(n + 1)(1 − rate)⌉-th smallest of n scores (Vovk et
    al. 2005; Lei et al. 2018). If n is too small for `rate`, it is the largest score,
    whose false-alarm rate is at most 1 / (n + 1); without a score it is inf.

    The promise holds if the new episode is exchangeable with the scores, and if the
    scores did not take part in the fit. Here the key was trained on all demonstrations,
    so `rate` is nominal: the rate that results has to be measured.
    """
    if len(scores) == 0:
        return math.inf
    # (n + 1)(1 − rate) is not exact in binary: 10 · (1 − 0.7) is 3.0000000000000004, which
    # would be rounded up to 4.
    rank = min(len(scores), math.ceil((len(scores) + 1) * (1 - rate) - 1e-9))
    return float(np.sort(scores)[rank - 1])
