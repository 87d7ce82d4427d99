"""Open loop: the demonstration whose first frame looks most alike, played to its end whatever happens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from altbench.api import (
    CheckpointError,
    Decision,
    Demonstration,
    FitContext,
    Float32,
    Footprint,
    Int64,
    Observation,
    Requirements,
    Spec,
    TaskInfo,
    Trainable,
)
from altbench_policies import checkpoint, input_checks
from altbench_policies.checkpoint import numpy_of
from altbench_policies.frames import join

ARRAYS = ("first_frames", "scales", "actions", "starts", "episodes")


class OpenLoopSpec(Spec):
    """Settings: `cameras` (empty: all of the task's), `pixels`, the side that images are averaged down to for comparing."""

    cameras: tuple[str, ...] = ()
    action_horizon: int = Field(default=8, ge=1)
    pixels: int = Field(default=21, ge=1)


@dataclass(frozen=True)
class Library:
    """E demonstrations: `first_frames` float32 (E, F), standardised; `scales` float32 (V,), each camera's unit.

    `actions` float32 (N, Da) of all, one after the other; `starts` int64 (E + 1,) where each begins; `episodes` int64
    (E,), `Demonstration.index`.
    """

    first_frames: Float32
    scales: Float32
    actions: Float32
    starts: Int64
    episodes: Int64
    image_size: tuple[int, int]

    @property
    def bytes(self) -> int:
        """Bytes held."""
        return sum(int(getattr(self, name).nbytes) for name in ARRAYS)


@dataclass
class Playback:
    """What a slot plays: the demonstration's place in the library, the steps played, and how far its frame was."""

    demonstration: int = -1
    step: int = 0
    distance: float = 0.0


class OpenLoop(Trainable[OpenLoopSpec]):
    """The demonstration whose first frame looks most alike, played to its end without looking again."""

    name: ClassVar[str] = "open_loop"
    version: ClassVar[int] = 1

    def __init__(self, task: TaskInfo, config: OpenLoopSpec) -> None:
        super().__init__(task, config)
        self.cameras = config.cameras or task.cameras
        self._library: Library | None = None
        self._playing: dict[int, Playback] = {}

    @property
    def requirements(self) -> Requirements:
        """Images of its cameras; looked at once per episode."""
        horizon = self.config.action_horizon
        size = self._library.image_size if self._library else None
        return Requirements(self.cameras, 1, horizon, horizon, image_size=size)

    def fit(self, demonstrations: Sequence[Demonstration], context: FitContext) -> None:
        """Keep the first frames and all actions."""
        frames = join(demonstrations, self.cameras)
        first = torch.unique(frames.first)
        views = [self._shrink(frames.pixels[camera][first]) for camera in self.cameras]
        scales = np.array([_spread(view) for view in views], np.float32)
        self._library = Library(
            first_frames=_standardise(views, scales),
            scales=scales,
            actions=numpy_of(frames.actions),
            starts=np.append(numpy_of(first), len(frames)),
            episodes=numpy_of(frames.episode[first]),
            image_size=frames.image_size,
        )
        context.progress(1, 1, {})

    def save(self, folder: Path) -> None:
        """Write the library."""
        library = self.library()
        arrays = {name: getattr(library, name) for name in ARRAYS}
        checkpoint.write(folder, checkpoint.Checkpoint({"image_size": list(library.image_size)}, arrays=arrays))

    def load(self, folder: Path, device: str = "cpu") -> None:
        """Read what `save` wrote; CheckpointError where it is damaged or of other settings."""
        del device  # a handful of small arrays
        saved = checkpoint.read(folder)
        height, width = saved.value("image_size")
        library = Library(**{name: saved.array(name) for name in ARRAYS}, image_size=(height, width))
        features = 3 * self.config.pixels**2 * len(self.cameras)
        if library.first_frames.shape[1] != features:
            raise CheckpointError(
                f"{folder}: first frames have {library.first_frames.shape[1]} numbers, these settings make {features}"
            )
        self._library = library

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Choose anew at the slot's next decision."""
        del seeds  # nothing here is random
        for slot in slots:
            self._playing[slot] = Playback()

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        """The next Ta actions of each slot's demonstration, its last one repeated past the end."""
        library = self.library()
        input_checks.check_begun(slots, self._playing)
        self._choose(observation, slots)
        playing = [self._playing[slot] for slot in slots]
        chosen = np.array([p.demonstration for p in playing], np.int64)
        step = np.array([p.step for p in playing], np.int64)
        last = library.starts[chosen + 1] - 1
        rows = np.minimum(
            (library.starts[chosen] + step)[:, None] + np.arange(self.config.action_horizon), last[:, None]
        )
        for p in playing:
            p.step += self.config.action_horizon
        frames = rows[:, 0] - library.starts[chosen]
        matches = np.stack([library.episodes[chosen], frames], axis=1)[:, None]
        similarities = -np.array([[p.distance] for p in playing], np.float32)
        return Decision(library.actions[rows], matches=matches, similarities=similarities)

    def footprint(self) -> Footprint:
        """Bytes of the library."""
        return Footprint(table=self._library.bytes) if self._library else Footprint()

    def library(self) -> Library:
        """What fitting made, or CheckpointError where there is nothing yet."""
        if self._library is None:
            raise input_checks.not_fitted(self.name)
        return self._library

    def _choose(self, observation: Observation, slots: Sequence[int]) -> None:
        """Give the slots that have just begun the demonstration of the nearest first frame."""
        new = [b for b, slot in enumerate(slots) if self._playing[slot].demonstration < 0]
        if not new:
            return
        library = self.library()
        images = [input_checks.images(observation, camera, library.image_size)[new, -1] for camera in self.cameras]
        seen = _standardise([self._shrink(image) for image in images], library.scales)
        for b, frame in zip(new, seen, strict=True):
            distances = np.linalg.norm(library.first_frames - frame, axis=1)
            nearest = int(distances.argmin())
            self._playing[slots[b]] = Playback(nearest, 0, float(distances[nearest]))

    def _shrink(self, images: Tensor) -> Float32:
        """uint8 (B, H, W, 3) -> float32 (B, 3·pixels²), averaged down."""
        small = F.adaptive_avg_pool2d(images.permute(0, 3, 1, 2).float(), self.config.pixels)
        array: Float32 = numpy_of(small.flatten(1))
        return array


def _spread(view: Float32) -> float:
    """How much first frames differ in one camera: the standard deviation of a pixel, averaged; 1 where they do not."""
    return float(view.std(axis=0).mean()) or 1.0


def _standardise(views: Sequence[Float32], scales: Float32) -> Float32:
    """Cameras side by side, each in its own unit, so that none drowns the others: (B, F)."""
    return np.concatenate([view / scale for view, scale in zip(views, scales, strict=True)], axis=1)
