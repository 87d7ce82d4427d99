"""Chunks of commanded positions: how near to a training chunk what a policy executes is.

A nearest training chunk always exists. One counts as recalled if it is nearer than those
of another demonstration usually are. Where the object stands as in a demonstration, good
motions are that near, too: only more than an expert's tell recall.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from altbench.core.types import Float64
from altbench.stats.rates import Rate, clustered_rate

LENGTH = 8
"""Control steps of a chunk: what most policies here execute at once."""
PASSED = 0.05
"""The share of another demonstration's chunks that are as near to a training chunk as the threshold."""
BLOCK = 256
"""Chunks that are compared at once; bounds memory."""


@dataclass(frozen=True)
class ChunkLibrary:
    """All training chunks, and the distance below which one counts as recalled.

    `chunks`: float64 (N, LENGTH, D), m. `threshold`: m; `PASSED` of the chunks of each
    demonstration are nearer to a chunk of another one.
    """

    chunks: Float64
    threshold: float

    @classmethod
    def of(cls, demonstrations: Sequence[Float64]) -> Self:
        """Build from the commanded positions (T, D) of at least two demonstrations."""
        windows = [_every_window(path) for path in demonstrations]
        if len(windows) < 2:
            raise ValueError(f"expected at least two demonstrations, got {len(windows)}")
        left_out = [
            nearest(whole_chunks(path), np.concatenate([w for j, w in enumerate(windows) if j != i]))
            for i, path in enumerate(demonstrations)
        ]
        return cls(np.concatenate(windows), float(np.quantile(np.concatenate(left_out), PASSED)))

    def distances(self, path: Float64) -> Float64:
        """Return the distance (m) of each whole chunk of an episode (T, D) to its nearest training chunk."""
        return nearest(whole_chunks(path), self.chunks)

    def recalled(self, episodes: Sequence[Float64], *ways: ArrayLike) -> Rate:
        """Return the share of chunks that are nearer than the threshold.

        `episodes`: the distances of each one's chunks. `ways`: as in
        `stats.rates.clustered_rate`, with the cluster of each episode, such as its initial
        pose. Chunks of an episode are of its cluster.
        """
        sizes = [len(found) for found in episodes]
        near = np.concatenate([np.empty(0), *episodes]) < self.threshold
        return clustered_rate(near, *(np.repeat(np.asarray(way), sizes) for way in ways))


def whole_chunks(path: Float64) -> Float64:
    """Return the chunks (M, LENGTH, D) of `path` (T, D), one after the other; the rest is left out."""
    count = len(path) // LENGTH
    return path[: count * LENGTH].reshape(count, LENGTH, path.shape[1])


def nearest(chunks: Float64, among: Float64) -> Float64:
    """Return the mean distance (m) of points of each of `chunks` to the nearest of `among`, (M,)."""
    found = [np.empty(0)]
    for start in range(0, len(chunks), BLOCK):
        block = chunks[start : start + BLOCK]
        best = np.full(len(block), np.inf)
        for other in range(0, len(among), BLOCK):
            gaps = np.linalg.norm(block[:, None] - among[None, other : other + BLOCK], axis=-1).mean(axis=-1)
            best = np.minimum(best, gaps.min(axis=1))
        found.append(best)
    return np.concatenate(found)


def _every_window(path: Float64) -> Float64:
    """Return the chunk that begins at each step; past the end the last position is repeated, as lookups do."""
    steps = np.minimum(np.arange(len(path))[:, None] + np.arange(LENGTH), len(path) - 1)
    windows: Float64 = path[steps]
    return windows
