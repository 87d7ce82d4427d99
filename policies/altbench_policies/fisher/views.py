"""What fisher compares: images with the demonstrations' view and colours, averaged down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from altbench.api import CheckpointError, Float32, UInt8
from altbench_policies.checkpoint import numpy_of
from altbench_policies.fisher.colours import map_colours
from altbench_policies.fisher.config import FisherSpec
from altbench_policies.fisher.registration import miss, register
from altbench_policies.frames import Frames

STRANGE = 3.0
"""A background is registered if it fits this many times worse than any demonstration's."""
LEAST_MISS = 0.01
"""The least miss at which a background is registered, for demonstrations that hardly differ."""
BETTER = 0.6
"""A registration counts if it leaves at most this share of the miss."""
MOST_LOST = 0.5
"""A registration counts only if less than this share of the view is lost beyond the image's border."""
STRIDE = 5
"""The background is told from every so many frames: neighbours hardly differ."""


@dataclass(frozen=True)
class Background:
    """A camera's background, as the demonstrations have it.

    `reference`: float32 (H, W, 3) in [0, 1], their median. `trust`: float32 (H, W), how
    little a pixel varies. `usual_miss`: the worst fit of a demonstration's own frames.
    """

    reference: Float32
    trust: Float32
    usual_miss: float

    @classmethod
    def of(cls, images: UInt8, align_colours: bool) -> Self:
        """Take it from images (B, H, W, 3) of all demonstrations.

        With `align_colours` there are two rounds: images of different lighting are first
        mapped to their median.
        """
        seen = images.astype(np.float32) / np.float32(255)
        reference, trust = np.median(seen, axis=0), np.ones(seen.shape[1:3], np.float32)
        for _ in range(2):
            mapped = map_colours(seen, reference, trust) if align_colours else seen
            reference, trust = np.median(mapped, axis=0), 1 / (mapped.var(axis=0).mean(axis=2) + np.float32(1e-4))
            trust = (trust / trust.mean()).astype(np.float32)
        grey = reference.mean(axis=2)
        return cls(reference, trust, max(miss(grey, trust, image.mean(axis=2)) for image in seen))

    def view(self, image: Float32, config: FisherSpec) -> Float32:
        """Return `image` (H, W, 3) as the demonstrations' camera would have taken it.

        It is moved only if its background does not fit and then fits better. What comes
        from beyond its border is the reference's.
        """
        grey, shown = image.mean(axis=2), self.reference.mean(axis=2)
        before = miss(shown, self.trust, grey) if config.align_view else 0.0
        if before > max(STRANGE * self.usual_miss, LEAST_MISS):
            moved = register(image, shown, self.trust)
            lost = np.isnan(moved)
            if lost.mean() < MOST_LOST and miss(shown, self.trust, moved.mean(axis=2)) <= BETTER * before:
                image = np.where(lost, self.reference, moved)
        return map_colours(image[None], self.reference, self.trust)[0] if config.align_colours else image


class Looks:
    """How images become the numbers that are compared.

    `backgrounds`: one for each camera.
    """

    def __init__(self, config: FisherSpec, cameras: Sequence[str], backgrounds: Sequence[Background]) -> None:
        self.config, self.cameras, self.backgrounds = config, tuple(cameras), tuple(backgrounds)

    @classmethod
    def of(cls, config: FisherSpec, frames: Frames) -> Self:
        """Take the backgrounds from the frames of all phases."""
        first, last = (numpy_of(t) for t in (frames.first, frames.last))
        begins = np.unique(first)
        steps = begins[:, None] + np.arange(0, config.frames * config.phases, STRIDE)
        rows = np.unique(np.minimum(steps, last[begins][:, None]))
        found = [Background.of(numpy_of(pixels[rows]), config.align_colours) for pixels in frames.pixels.values()]
        return cls(config, tuple(frames.pixels), found)

    def see(self, pixels: Mapping[str, UInt8]) -> Float32:
        """Return the numbers of one image uint8 (H, W, 3) of each camera: float32 (F,)."""
        parts = []
        for camera, background in zip(self.cameras, self.backgrounds, strict=True):
            image = pixels[camera].astype(np.float32) / np.float32(255)
            parts.append(pooled(background.view(image, self.config), self.config.pool).ravel())
        return np.concatenate(parts)

    def windows(self, frames: Frames, number: int) -> Float32:
        """Return the frames of each demonstration in phase `number`: float32 (E, W, F).

        Past a demonstration's end its last frame is repeated.
        """
        first, last = (numpy_of(t) for t in (frames.first, frames.last))
        begins = np.unique(first)
        steps = begins[:, None] + number * self.config.frames + np.arange(self.config.frames)
        rows = np.minimum(steps, last[begins][:, None])
        images = {camera: numpy_of(pixels) for camera, pixels in frames.pixels.items()}
        return np.stack([[self.see({c: images[c][row] for c in images}) for row in window] for window in rows])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `from_arrays` needs, for a checkpoint."""
        found: dict[str, NDArray[Any]] = {"usual_miss": np.array([b.usual_miss for b in self.backgrounds])}
        for i, background in enumerate(self.backgrounds):
            found |= {f"reference_{i}": background.reference, f"trust_{i}": background.trust}
        return found

    @classmethod
    def from_arrays(cls, config: FisherSpec, cameras: Sequence[str], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build from what `arrays` returned; CheckpointError if an array is missing."""
        names = ["usual_miss", *(f"{kind}_{i}" for i in range(len(cameras)) for kind in ("reference", "trust"))]
        missing = [name for name in names if name not in arrays]
        if missing:
            raise CheckpointError(f"expected {missing[0]}.npy, got {sorted(arrays)}; fit the policy again")
        misses = arrays["usual_miss"].tolist()
        made = [Background(arrays[f"reference_{i}"], arrays[f"trust_{i}"], misses[i]) for i in range(len(cameras))]
        return cls(config, cameras, made)


def pooled(image: Float32, pool: int) -> Float32:
    """Average (H, W, 3) over squares of `pool` × `pool` pixels.

    Rows and columns that fill no square are left out.
    """
    if pool == 1:
        return image
    h, w = image.shape[0] // pool, image.shape[1] // pool
    squares = image[: h * pool, : w * pool].reshape(h, pool, w, pool, -1)
    return squares.mean(axis=(1, 3), dtype=np.float32)
