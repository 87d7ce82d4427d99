"""The frames of demonstrations, as a lookup returns them.

A frame has the chunk that followed it, and a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from altbench.api import CheckpointError, Float32, Int64
from altbench_policies.checkpoint import numpy_of
from altbench_policies.frames import Frames


@dataclass(frozen=True)
class Demonstrated:
    """N frames: `actions` float32 (N, Da); `last`, `episode`, `frame` int64 (N,).

    `last`: the row where each frame's episode ends. `episode`: `Demonstration.index`.
    `frame`: its number in the episode.
    """

    actions: Float32
    last: Int64
    episode: Int64
    frame: Int64

    @classmethod
    def of(cls, frames: Frames) -> Demonstrated:
        """Take all of `frames`."""
        first, last, episode = (numpy_of(t) for t in (frames.first, frames.last, frames.episode))
        return cls(numpy_of(frames.actions), last, episode, np.arange(len(frames)) - first)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], rows: int) -> Demonstrated:
        """Build from what `arrays` returned.

        Raises CheckpointError if an array is missing, or has another number of rows
        than `rows`.
        """
        names = [field.name for field in fields(cls)]
        missing = [name for name in names if name not in arrays]
        if missing:
            raise CheckpointError(
                f"lookup table: expected {missing[0]}.npy, got {sorted(arrays)}; fit the policy again"
            )
        lengths = {rows, *(len(arrays[name]) for name in names)}
        if len(lengths) != 1:
            raise CheckpointError(f"lookup table: expected arrays of one length, got {sorted(lengths)}")
        return cls(**{name: arrays[name] for name in names})

    def __len__(self) -> int:
        return len(self.actions)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return name -> plain array, everything that `from_arrays` needs."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def bytes(self) -> int:
        """The number of bytes held."""
        return sum(array.nbytes for array in self.arrays().values())

    def chunk(self, rows: Int64, horizon: int) -> Float32:
        """Return the next `horizon` actions from each of `rows` (B,): (B, horizon, Da).

        Past an episode's end its last action is repeated.
        """
        steps = np.minimum(rows[:, None] + np.arange(horizon), self.last[rows][:, None])
        chunk: Float32 = self.actions[steps]
        return chunk

    def names(self, rows: Int64) -> Int64:
        """Return `rows` (B, k) as (episode, frame), int64 (B, k, 2)."""
        return np.stack([self.episode[rows], self.frame[rows]], axis=-1)
