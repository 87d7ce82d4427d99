"""Open loop: the demonstration that began most alike, executed to its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
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
    TaskInfo,
    Trainable,
)
from altbench_policies import checkpoint, input_checks
from altbench_policies.checkpoint import numpy_of
from altbench_policies.control import ControlSpec
from altbench_policies.frames import join
from altbench_policies.lookup.playback import Playback
from altbench_policies.lookup.raw import shrunk, side_by_side

ARRAYS = ("first_frames", "scales", "actions", "starts", "episodes")
"""Arrays of a `Library` and of its checkpoint, by name."""


class OpenLoopSpec(ControlSpec):
    """Config of open_loop; see also ControlSpec.

    `cameras`: which views (empty: all of the task's). `pixels`: side that images are
    averaged down to for comparing. `action_horizon`: Ta, the actions that are executed
    before the next chunk of the demonstration follows.
    """

    cameras: tuple[str, ...] = ()
    action_horizon: int = Field(default=8, ge=1)
    pixels: int = Field(default=21, ge=1)


@dataclass(frozen=True)
class Library:
    """E demonstrations: their first frames, and their actions.

    `first_frames`: float32 (E, F), in units of `scales`. `scales`: float32 (V,), each
    camera's unit. `actions`: float32 (N, Da), all demonstrations' one after the other.
    `starts`: int64 (E + 1,), where each begins. `episodes`: int64 (E,),
    `Demonstration.index`.
    """

    first_frames: Float32
    scales: Float32
    actions: Float32
    starts: Int64
    episodes: Int64
    image_size: tuple[int, int]

    @property
    def bytes(self) -> int:
        """The number of bytes held."""
        return sum(int(getattr(self, name).nbytes) for name in ARRAYS)


class OpenLoop(Trainable[OpenLoopSpec]):
    """The demonstration whose first frame looks most alike, executed blindly."""

    name: ClassVar[str] = "open_loop"
    version: ClassVar[int] = 1

    def __init__(self, task: TaskInfo, config: OpenLoopSpec) -> None:
        super().__init__(task, config)
        self.cameras = config.cameras or task.cameras
        self._library: Library | None = None
        self._playing: dict[int, Playback] = {}

    @property
    def requirements(self) -> Requirements:
        """Images of its cameras, looked at once per episode."""
        horizon = self.config.action_horizon
        size = self._library.image_size if self._library else None
        return Requirements(self.cameras, 1, horizon, horizon, self.config.control_mode, size)

    def fit(self, demonstrations: Sequence[Demonstration], context: FitContext) -> None:
        """Keep the first frames and all actions."""
        frames = join(demonstrations, self.cameras, control_mode=self.config.control_mode)
        first = torch.unique(frames.first)
        views = [self._shrink(frames.pixels[camera][first]) for camera in self.cameras]
        scales = np.array([_spread(view) for view in views], np.float32)
        self._library = Library(
            first_frames=side_by_side(views, scales),
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
        """Read what `save` wrote.

        Raises CheckpointError if it is damaged or of another config.
        """
        del device  # these are a few small arrays
        saved = checkpoint.read(folder)
        height, width = saved.value("image_size")
        library = Library(**{name: saved.array(name) for name in ARRAYS}, image_size=(height, width))
        features = 3 * self.config.pixels**2 * len(self.cameras)
        if library.first_frames.shape[1] != features:
            raise CheckpointError(
                f"{folder}: first frames have {library.first_frames.shape[1]} numbers, this config makes "
                f"{features}: they are of another configuration"
            )
        self._library = library

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Let each slot choose a demonstration at its next decision."""
        del seeds  # nothing here is random
        for slot in slots:
            self._playing[slot] = Playback()

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        """Return the next Ta actions of each slot's demonstration.

        Past its end, its last action is repeated.
        """
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
        """Return the bytes of the library."""
        return Footprint(table=self._library.bytes) if self._library else Footprint()

    def library(self) -> Library:
        """Return what `fit` made; raise CheckpointError before `fit` or `load`."""
        if self._library is None:
            raise input_checks.not_fitted(self.name)
        return self._library

    def _choose(self, observation: Observation, slots: Sequence[int]) -> None:
        """Choose the demonstration with the nearest first frame for slots that begin."""
        new = [b for b, slot in enumerate(slots) if self._playing[slot].demonstration < 0]
        if not new:
            return
        library = self.library()
        images = [input_checks.images(observation, camera, library.image_size)[new, -1] for camera in self.cameras]
        seen = side_by_side([self._shrink(image) for image in images], library.scales)
        for b, frame in zip(new, seen, strict=True):
            distances = np.linalg.norm(library.first_frames - frame, axis=1)
            nearest = int(distances.argmin())
            self._playing[slots[b]] = Playback(nearest, 0, float(distances[nearest]))

    def _shrink(self, images: Tensor) -> Float32:
        """Average uint8 (B, H, W, 3) down to float32 (B, 3·pixels²)."""
        array: Float32 = numpy_of(shrunk(images, self.config.pixels))
        return array


def _spread(view: Float32) -> float:
    """Return how much first frames differ in one camera.

    It is the standard deviation of a pixel, averaged over pixels; 1 if they do not
    differ.
    """
    return float(view.std(axis=0).mean()) or 1.0
