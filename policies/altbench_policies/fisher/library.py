"""What fisher keeps of the demonstrations: their looks in each phase, their poses and actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from altbench.api import CheckpointError, ConfigError, Float32, Int64
from altbench_policies.checkpoint import numpy_of
from altbench_policies.fisher.config import FisherSpec
from altbench_policies.fisher.views import Looks
from altbench_policies.fisher.weights import arm_noise, distances, fisher_weights
from altbench_policies.frames import Frames
from altbench_policies.lookup.frames import Demonstrated

ARRAYS = ("poses", "pose_unit", "shown", "roots", "usual", "calibration_scores")
"""Arrays of a `Library` and of its checkpoint, by name, beside colours and frames."""
SMALLEST_UNIT = 1e-3
"""The least unit of a number of the pose (m, or part of a rot6d), for those that hardly vary."""
LEAST = 1e-3
"""The least usual distance, in units of white: images have 256 levels."""
LAG = 2
"""By how many frames an episode may be ahead of a demonstration's frame, or behind it."""
FIRST_WITH_NOISE = 3
"""The fewest demonstrations that show how differently the arm may stand."""


@dataclass(frozen=True)
class Library:
    """E demonstrations of N frames, looked at in Q phases.

    `poses`: float32 (N, Dp). `pose_unit`: float32 (Dp,), the unit of each number.
    `shown`: float16 (Q, E, F), each demonstration's image in each phase. `roots`:
    float32 (Q, F), the roots of the weights. `usual`: float32 (Q, W), how far the frames of
    a phase usually are from their demonstration's image. `calibration_scores`: float32, the
    highest scores of made-up episodes that begin as a demonstration did.
    """

    looks: Looks
    demonstrated: Demonstrated
    poses: Float32
    pose_unit: Float32
    shown: NDArray[np.float16]
    roots: Float32
    usual: Float32
    calibration_scores: Float32
    image_size: tuple[int, int]

    @classmethod
    def of(cls, frames: Frames, config: FisherSpec) -> Self:
        """Look at `frames` and keep what choosing and following needs.

        Raises ConfigError if `pool` leaves nothing of their images.
        """
        if config.pool > min(frames.image_size):
            raise ConfigError(
                f"fisher: pool: expected at most {min(frames.image_size)}, the images' side, got {config.pool}"
            )
        looks, demonstrated, poses = Looks.of(config, frames), Demonstrated.of(frames), numpy_of(frames.agent_pos)
        phases = [_Phase.of(looks.windows(frames, number), number, config) for number in range(config.phases)]
        unit = poses.std(axis=0) + np.float32(SMALLEST_UNIT)
        return cls(
            looks=looks,
            demonstrated=demonstrated,
            poses=poses,
            pose_unit=unit,
            shown=np.stack([phase.shown for phase in phases]).astype(np.float16),
            roots=np.stack([phase.roots for phase in phases]),
            usual=np.stack([phase.usual for phase in phases]),
            calibration_scores=_episode_scores(phases),
            image_size=frames.image_size,
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return name -> plain array, everything that `from_arrays` needs."""
        own = {name: getattr(self, name) for name in ARRAYS}
        return {**own, **self.demonstrated.arrays(), **self.looks.arrays()}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], config: FisherSpec, cameras: Sequence[str], size: tuple[int, int]
    ) -> Self:
        """Build from what `arrays` returned.

        Raises CheckpointError if an array is missing, or of another config.
        """
        missing = [name for name in ARRAYS if name not in arrays]
        if missing:
            raise CheckpointError(f"expected {missing[0]}.npy, got {sorted(arrays)}; fit the policy again")
        made = 3 * (size[0] // config.pool) * (size[1] // config.pool) * len(cameras)
        shape = (arrays["shown"].shape[0], arrays["shown"].shape[2])
        if shape != (config.phases, made):
            raise CheckpointError(
                f"images of {shape[0]} phases and {shape[1]} numbers, this config makes {config.phases} and {made}: "
                "they are of another configuration"
            )
        demonstrated = Demonstrated.from_arrays(arrays, len(arrays["poses"]))
        looks = Looks.from_arrays(config, cameras, arrays)
        return cls(looks, demonstrated, **{name: arrays[name] for name in ARRAYS}, image_size=size)

    @property
    def bytes(self) -> int:
        """The number of bytes held."""
        return sum(int(array.nbytes) for array in self.arrays().values())

    @property
    def starts(self) -> Int64:
        """The row where each demonstration begins, int64 (E,)."""
        return np.flatnonzero(self.demonstrated.frame == 0)

    def scores(self, seen: Float32, frame: int) -> Float32:
        """Return how strange `seen` (F,) is for each demonstration at `frame`: float32 (E,).

        1 is usual for that frame of the demonstration itself.
        """
        phase, step = divmod(frame, self.usual.shape[1])
        roots = self.roots[phase]
        apart = distances(seen * roots, self.shown[phase].astype(np.float32) * roots)
        found: Float32 = apart / self.usual[phase, step]
        return found

    def extent(self, demonstration: int) -> tuple[int, int]:
        """Return the row where a demonstration begins, and the one after its end."""
        start = int(self.starts[demonstration])
        return start, int(self.demonstrated.last[start]) + 1

    def nearest_pose(self, pose: Float32, low: int, high: int) -> int:
        """Return the row in [`low`, `high`) whose pose is nearest to `pose` (Dp,)."""
        apart = (self.poses[low:high] - pose) / self.pose_unit
        return low + int(np.square(apart).sum(axis=1).argmin())


@dataclass(frozen=True)
class _Phase:
    """What is computed of one phase of E demonstrations, W frames long.

    `shown`: (E, F). `roots`: (F,). `usual`: (W,), as in `Library`. `own`: (E, W), the
    scores of the demonstrations' own frames, at most `LAG` frames off. `noisy`: (E, E), the score that each would
    have if its arm stood as another's does.
    """

    shown: Float32
    roots: Float32
    usual: Float32
    own: Float32
    noisy: Float32

    @classmethod
    def of(cls, windows: Float32, number: int, config: FisherSpec) -> Self:
        """Compute it from `windows` (E, W, F), the frames of each demonstration."""
        roots = np.sqrt(fisher_weights(windows, config.regularisation))
        shown = windows[:, 0] if number == 0 else windows.mean(axis=1)
        own = np.stack([distances(image * roots, window * roots) for image, window in zip(shown, windows, strict=True)])
        noise = arm_noise(windows) * roots
        noisy = np.stack([distances(one, noise) for one in noise])
        usual = np.sqrt(np.square(own).mean(axis=0) + np.square(noisy).mean() + LEAST**2).astype(np.float32)
        return cls(shown, roots, usual, _lagged(own) / usual, noisy / usual[0])


def _lagged(own: Float32) -> Float32:
    """Return the largest of each number (E, W) and its `LAG` neighbours on either side."""
    steps = np.arange(own.shape[1])
    shifted = [own[:, np.clip(steps + lag, 0, len(steps) - 1)] for lag in range(-LAG, LAG + 1)]
    found: Float32 = np.max(shifted, axis=0)
    return found


def _episode_scores(phases: Sequence[_Phase]) -> Float32:
    """Return the highest score of made-up episodes, float32.

    One for each ordered pair of demonstrations: its objects stand as the first's, its arm
    as the second's. Empty with fewer than three demonstrations.
    """
    count = len(phases[0].noisy)
    if count < FIRST_WITH_NOISE:
        return np.zeros(0, np.float32)
    own = np.max([phase.own.max(axis=1) for phase in phases], axis=0)
    highest = np.maximum(np.max([phase.noisy for phase in phases], axis=0), own[:, None])
    scores: Float32 = highest[~np.eye(count, dtype=bool)].astype(np.float32)
    return scores
