"""Fisher: choose the demonstration by weighted pixels, and follow it by the nearest pose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from altbench.api import (
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
    UInt8,
)
from altbench_policies import checkpoint, input_checks
from altbench_policies.fisher.config import PRESETS, RUNTIME_FIELDS, FisherSpec
from altbench_policies.fisher.library import Library
from altbench_policies.fisher.views import Views
from altbench_policies.frames import join
from altbench_policies.lookup.flag import Flag
from altbench_policies.lookup.table import Lookup


@dataclass
class Following:
    """The demonstration that a slot follows.

    `demonstration`: its place in the library (−1: not chosen yet). `frame`: the frame
    that the next decision is expected at. `scores`: float32 (E,), how strange the last
    image was for each demonstration. `views`: where the cameras stood at the first
    decision.
    """

    demonstration: int = -1
    frame: int = 0
    views: Views = ()
    scores: Float32 = field(default_factory=lambda: np.zeros(0, np.float32))


class Fisher(Trainable[FisherSpec]):
    """A lookup in two parts: which demonstration by the image, which frame by the pose.

    Pixels count by Fisher's criterion: the more demonstrations differ in them, and the
    less a single one does. Nothing is trained.
    """

    name: ClassVar[str] = "fisher"
    version: ClassVar[int] = 1
    presets = PRESETS
    runtime_fields = RUNTIME_FIELDS

    def __init__(self, task: TaskInfo, config: FisherSpec) -> None:
        super().__init__(task, config)
        self.cameras = config.cameras or task.cameras[:1]
        self.flag = Flag(config, task.arms, config.control_mode)
        self._library: Library | None = None
        self._following: dict[int, Following] = {}

    @property
    def requirements(self) -> Requirements:
        """Images of its cameras; the last frame alone is looked at."""
        horizon = self.config.action_horizon
        size = self._library.image_size if self._library else None
        return Requirements(self.cameras, 1, horizon, horizon, self.config.control_mode, size)

    def fit(self, demonstrations: Sequence[Demonstration], context: FitContext) -> None:
        """Weigh the pixels and keep each demonstration's image in each phase."""
        frames = join(demonstrations, self.cameras, control_mode=self.config.control_mode)
        self._library = Library.of(frames, self.config)
        context.progress(1, 1, {})

    def save(self, folder: Path) -> None:
        """Write the library."""
        library = self.library()
        values = {"image_size": list(library.image_size)}
        checkpoint.write(folder, checkpoint.Checkpoint(values, arrays=library.arrays()))

    def load(self, folder: Path, device: str = "cpu") -> None:
        """Read what `save` wrote.

        Raises CheckpointError if it is damaged or of another config.
        """
        del device  # these are small arrays
        saved = checkpoint.read(folder)
        height, width = saved.value("image_size")
        self._library = Library.from_arrays(saved.arrays, self.config, self.cameras, (height, width))

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Let each slot choose a demonstration at its next decision."""
        del seeds  # nothing here is random
        self.flag.reset(slots)
        for slot in slots:
            self._following[slot] = Following()

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        """Return chunks (B, Ta, Da) with score, flag and matches.

        The first match is the frame that is executed, the others are the nearest
        demonstrations besides, at the same step.
        """
        library = self.library()
        self.flag.check_begun(slots)
        pixels = {c: input_checks.images(observation, c, library.image_size)[:, -1].numpy() for c in self.cameras}
        for b, slot in enumerate(slots):
            self._decide(self._following[slot], {c: p[b] for c, p in pixels.items()}, observation.agent_pos[b, -1])
        found = [self._found(self._following[slot]) for slot in slots]
        lookup = Lookup(np.stack([rows for rows, _ in found]), np.stack([near for _, near in found]))
        chunk = library.demonstrated.chunk(lookup.rows[:, 0], self.config.action_horizon)
        for slot in slots:
            self._following[slot].frame += self.config.action_horizon
        return self.flag.decision(observation, slots, library, lookup, chunk, self.threshold)

    @property
    def threshold(self) -> float:
        """The score above which an image is out of distribution."""
        return self.flag.threshold(self.library().calibration_scores)

    def footprint(self) -> Footprint:
        """Return the bytes of the library."""
        return Footprint(table=self._library.bytes) if self._library else Footprint()

    def inference_note(self) -> str:
        """Return how many demonstrations are compared, and by how many numbers."""
        if self._library is None:
            return ""
        return f"{self._library.shown.shape[1]} demonstrations, {self._library.shown.shape[2]} numbers"

    def library(self) -> Library:
        """Return what `fit` made; raise CheckpointError before `fit` or `load`."""
        if self._library is None:
            raise input_checks.not_fitted(self.name)
        return self._library

    def _decide(self, following: Following, pixels: Mapping[str, UInt8], pose: Float32) -> None:
        """Choose or check the demonstration, and set the frame that is executed next."""
        library, config = self.library(), self.config
        begins = following.demonstration < 0
        if not begins:
            self._match(following, pose)
        if following.frame >= config.frames * config.phases:
            return
        if begins:
            self._begin(following, pixels)
        else:
            following.scores = library.scores(library.looks.see(pixels, following.views), following.frame)
            self._reconsider(following, pose)

    def _begin(self, following: Following, pixels: Mapping[str, UInt8]) -> None:
        """Choose the demonstration that looks most alike, the image as it is or moved."""
        library = self.library()
        still: Views = (None,) * len(self.cameras)
        moved = library.looks.find_views(pixels)
        tried = [still] if all(view is None for view in moved) else [still, moved]
        scores = [library.scores(library.looks.see(pixels, views), 0) for views in tried]
        best = int(np.argmin([score.min() for score in scores]))
        following.views, following.scores = tried[best], scores[best]
        following.demonstration = int(following.scores.argmin())

    def _match(self, following: Following, pose: Float32) -> None:
        """Set the frame to the one near the expected one whose pose is nearest."""
        library, reach = self.library(), self.config.reach
        start, end = library.extent(following.demonstration)
        expected = start + following.frame
        low, high = min(max(expected - reach, start), end - 1), min(expected + reach + 1, end)
        following.frame = library.nearest_pose(pose, low, high) - start

    def _reconsider(self, following: Following, pose: Float32) -> None:
        """Change to another demonstration if the present one no longer fits and it does."""
        library, scores = self.library(), following.scores
        best = int(scores.argmin())
        own = scores[following.demonstration]
        if own <= self.threshold or scores[best] >= self.config.margin * own:
            return
        start, end = library.extent(best)
        high = min(start + following.frame + self.config.reach + 1, end)
        following.demonstration, following.frame = best, library.nearest_pose(pose, start, high) - start

    def _found(self, following: Following) -> tuple[Int64, Float32]:
        """Return rows and similarities (k,): the followed frame, then other demonstrations'."""
        library, scores = self.library(), following.scores
        nearest = np.argsort(scores, kind="stable")
        others = nearest[nearest != following.demonstration][: self.config.top_k - 1]
        order = np.append(following.demonstration, others)
        ends = library.demonstrated.last[library.starts[order]]
        return np.minimum(library.starts[order] + following.frame, ends), 1 - scores[order]
