"""What fisher compares: images with the demonstrations' view and colours, averaged down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from altbench.api import CheckpointError, Float32, UInt8
from altbench_policies.checkpoint import numpy_of
from altbench_policies.fisher.colours import map_colours, pooled
from altbench_policies.fisher.config import FisherSpec
from altbench_policies.fisher.registration import miss, register, sample
from altbench_policies.frames import Frames

STRANGE = 5.0
"""A background is registered if it fits this many times worse than demonstrations' own frames do."""
LEAST_MISS = 0.01
"""The least miss at which a background is registered, for demonstrations that hardly differ."""
BETTER = 0.6
"""A registration counts if it leaves at most this share of the miss."""
LEAST_VARIANCE = np.float32(1e-3)
"""What is added to a pixel's variance: about that of an object that stands there once in 30 times."""
MOST_LOST = 0.5
"""A registration counts only if less than this share of the view is lost beyond the image's border."""
STRIDE = 5
"""The background is told from every so many frames: neighbours hardly differ."""


@dataclass(frozen=True)
class Background:
    """A camera's background, as the demonstrations have it.

    `reference`: float32 (H, W, 3) in [0, 1], their median. `trust`: float32 (H, W), how
    little a pixel varies. `usual_miss`: the median misfit of the demonstrations' own frames.
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
        seen = _unit(images)
        reference, trust = np.median(seen, axis=0), np.ones(seen.shape[1:3], np.float32)
        for _ in range(2):
            mapped = map_colours(seen, reference, trust) if align_colours else seen
            reference, trust = np.median(mapped, axis=0), 1 / (mapped.var(axis=0).mean(axis=2) + LEAST_VARIANCE)
            trust = (trust / trust.mean()).astype(np.float32)
        grey = reference.mean(axis=2)
        return cls(reference, trust, float(np.median([miss(grey, trust, image.mean(axis=2)) for image in seen])))

    def find_view(self, image: Float32) -> Float32 | None:
        """Return the map (2, 3) that moves `image` (H, W, 3) to where the demonstrations' camera stood.

        None if its background fits as it is, or does not fit better when moved.
        """
        grey, shown = image.mean(axis=2), self.reference.mean(axis=2)
        before = miss(shown, self.trust, grey)
        if before <= max(STRANGE * self.usual_miss, LEAST_MISS):
            return None
        found = register(grey, shown, self.trust)
        moved = sample(grey, found, shown.shape)
        better = miss(shown, self.trust, moved) <= BETTER * before
        return found if better and np.isnan(moved).mean() < MOST_LOST else None

    def see(self, image: Float32, view: Float32 | None, align_colours: bool) -> Float32:
        """Return `image` (H, W, 3) moved by `view`, with the demonstrations' colours.

        What comes from beyond its border is the reference's.
        """
        if view is not None:
            moved = np.stack([sample(image[..., c], view, image.shape[:2]) for c in range(image.shape[2])], axis=-1)
            image = np.where(np.isnan(moved), self.reference, moved)
        return map_colours(image[None], self.reference, self.trust)[0] if align_colours else image


Views = tuple[Float32 | None, ...]
"""Each camera's map (2, 3) to where the demonstrations' camera stood; None: it stands there."""


class Looks:
    """How images become the numbers that are compared.

    `backgrounds`: one for each camera.
    """

    def __init__(self, config: FisherSpec, cameras: Sequence[str], backgrounds: Sequence[Background]) -> None:
        self.config, self.cameras, self.backgrounds = config, tuple(cameras), tuple(backgrounds)

    @classmethod
    def of(cls, config: FisherSpec, frames: Frames) -> Self:
        """Take the backgrounds from the frames of the first phase."""
        first, last = (numpy_of(t) for t in (frames.first, frames.last))
        begins = np.unique(first)
        steps = begins[:, None] + np.arange(0, config.frames, STRIDE)
        rows = np.unique(np.minimum(steps, last[begins][:, None]))
        found = [Background.of(numpy_of(pixels[rows]), config.align_colours) for pixels in frames.pixels.values()]
        return cls(config, tuple(frames.pixels), found)

    def find_views(self, pixels: Mapping[str, UInt8]) -> Views:
        """Return where the cameras of one image uint8 (H, W, 3) each stand."""
        if not self.config.align_view:
            return (None,) * len(self.cameras)
        pairs = zip(self.cameras, self.backgrounds, strict=True)
        return tuple(background.find_view(_unit(pixels[camera])) for camera, background in pairs)

    def see(self, pixels: Mapping[str, UInt8], views: Views) -> Float32:
        """Return the numbers of one image uint8 (H, W, 3) of each camera: float32 (F,)."""
        parts = []
        for camera, background, view in zip(self.cameras, self.backgrounds, views, strict=True):
            image = background.see(_unit(pixels[camera]), view, self.config.align_colours)
            parts.append(pooled(image, self.config.pool).ravel())
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
        views = (None,) * len(self.cameras)
        return np.stack([[self.see({c: images[c][row] for c in images}, views) for row in window] for window in rows])

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


def _unit(image: UInt8) -> Float32:
    """Return an image in [0, 1], float32."""
    return image.astype(np.float32) / np.float32(255)
