"""ALT's first key: which demonstration an episode begins as, whatever the arm's noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from altbench.api import CheckpointError, Float32
from altbench_policies.alt.config import AltSpec
from altbench_policies.alt.network import KeyNetwork
from altbench_policies.lookup.frames import Demonstrated
from altbench_policies.vision import count_bytes

PREFIX = "first_key."
"""Before the names of its network's tensors in a checkpoint."""


@dataclass(frozen=True)
class FirstKey:
    """The demonstrations' first frames by a key that tells them apart.

    `shown`: float32 (E, R). The key is the learned one times `projection`, float32 (D,
    R), or what `network` makes of the image; the other one is None.
    """

    shown: Float32
    projection: Float32 | None = None
    network: KeyNetwork | None = None

    @classmethod
    def whitened(cls, keys: Float32, demonstrated: Demonstrated, config: AltSpec) -> Self:
        """Fit a projection to `keys` (N, D) by Fisher's linear discriminant.

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
        return cls(keys[starts] @ projection, projection=projection)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], network: KeyNetwork | None) -> Self:
        """Build from what `arrays` returned, and the network of the key, if it has one.

        Raises CheckpointError if something is missing.
        """
        names = ("first_shown",) if network else ("first_shown", "first_projection")
        if any(name not in arrays for name in names):
            raise CheckpointError(f"expected {names[-1]}.npy: it is of another configuration")
        return cls(arrays["first_shown"], None if network else arrays["first_projection"], network)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return name -> plain array, for a checkpoint."""
        own = {"first_shown": self.shown}
        return own if self.projection is None else {**own, "first_projection": self.projection}

    def tensors(self) -> dict[str, Any]:
        """Return the network's tensors by name, for a checkpoint."""
        return {f"{PREFIX}{name}": t for name, t in self.network.state_dict().items()} if self.network else {}

    @property
    def table_bytes(self) -> int:
        """The number of bytes of the first frames' keys and the projection."""
        return sum(array.nbytes for array in self.arrays().values())

    @property
    def weights_bytes(self) -> int:
        """The number of bytes of the network."""
        return count_bytes(self.network) if self.network else 0

    def project(self, keys: Float32) -> Float32:
        """Return the first keys (B, R) of learned ones (B, D), if there is a projection."""
        return keys if self.projection is None else keys @ self.projection

    def nearest(self, key: Float32) -> int:
        """Return the place of the demonstration whose first frame is nearest to `key` (R,)."""
        return int(np.square(self.shown - key).sum(axis=1).argmin())
