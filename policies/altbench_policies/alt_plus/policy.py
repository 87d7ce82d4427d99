"""ALT+: look the present frame up, then correct the retrieved chunk.

The correction is the difference between the network's predictions here and there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from altbench.api import (
    Decision,
    Demonstration,
    FitContext,
    Float32,
    Footprint,
    Observation,
    Requirements,
    TaskInfo,
    Trainable,
)
from altbench_policies import checkpoint, input_checks
from altbench_policies.alt_plus.config import PRESETS, RUNTIME_FIELDS, AltPlusSpec
from altbench_policies.alt_plus.fitted import Fitted, largest_move
from altbench_policies.augment import plain
from altbench_policies.bc import BehaviourCloning
from altbench_policies.checkpoint import numpy_of
from altbench_policies.chunk_policy import LEAST_EPOCHS
from altbench_policies.frames import Frames, join, observation_rows
from altbench_policies.lookup.appearance import thumbnails
from altbench_policies.lookup.flag import Flag
from altbench_policies.lookup.following import Follower
from altbench_policies.lookup.table import Lookup, Table, leave_one_out_scores
from altbench_policies.observation import Seen
from altbench_policies.vision import count_bytes

FIT_BATCH = 256
"""Frames that are run through the network at once when a table is built; bounds memory."""


class AltPlus(Trainable[AltPlusSpec]):
    """A retrieved chunk, plus the difference of two predictions of the network.

    The network predicts a chunk here and at the retrieved frame. On a training frame
    the difference is zero and the demonstration is replayed. Elsewhere the chunk keeps
    the demonstration's residual and moves with the object. An episode that begins where a
    demonstration did (`known`) follows it uncorrected, until the object is moved. With
    `familiar` set, an episode whose first image is unlike every demonstration's is
    executed uncorrected.
    Ours; after ALT (He et al. 2025, arXiv 2505.05787).
    """

    name: ClassVar[str] = "alt_plus"
    version: ClassVar[int] = 1
    presets = PRESETS
    renamed_presets: ClassVar = {"published_size": "paper"}
    runtime_fields = RUNTIME_FIELDS
    least_epochs: ClassVar[float] = LEAST_EPOCHS

    def __init__(self, task: TaskInfo, config: AltPlusSpec) -> None:
        super().__init__(task, config)
        self.regressor = BehaviourCloning(task, config)
        self.cameras = self.regressor.cameras
        self.flag = Flag(config, task.arms, config.control_mode)
        self._fitted: Fitted | None = None
        self._follower = Follower(config, config.top_k)
        self._familiar: dict[int, bool] = {}  # slot -> whether its episode began with a familiar image
        self._known: set[int] = set()  # slots whose episodes began where a demonstration did

    @property
    def requirements(self) -> Requirements:
        """What the regressor needs."""
        return self.regressor.requirements

    def fit(self, demonstrations: Sequence[Demonstration], context: FitContext) -> None:
        """Train the regressor, run it over every frame, and calibrate the threshold.

        The frames are not augmented in the second part.
        """
        self.regressor.fit(demonstrations, context)
        frames = join(demonstrations, self.cameras, context.device, self.config.control_mode)
        keys, predicted = self._over(frames)
        table = Table.of(frames, keys, self.config)
        scores = leave_one_out_scores(table, self.config.action_horizon)
        self._fitted = Fitted.of(self.config, self.regressor.fitted(), table, predicted, scores)

    def save(self, folder: Path) -> None:
        """Write the network, the table, its predictions and the calibration scores."""
        fitted = self.fitted()
        values = {"image_size": list(fitted.network.observation.image_size)}
        arrays = {"predicted": fitted.predicted, "calibration_scores": fitted.calibration_scores}
        written = checkpoint.Checkpoint(values, fitted.network.state_dict(), {**fitted.table.arrays(), **arrays})
        checkpoint.write(folder, written)

    def load(self, folder: Path, device: str = "cpu") -> None:
        """Read what `save` wrote.

        Raises CheckpointError if it is damaged or of another config.
        """
        self.regressor.load(folder, device)
        saved = checkpoint.read(folder)
        table = Table.from_arrays(saved.arrays, self.config)
        predicted, scores = saved.array("predicted"), saved.array("calibration_scores")
        self._fitted = Fitted.of(self.config, self.regressor.fitted(), table, predicted, scores)

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Forget each slot's last gripper command, and how its episode began."""
        del seeds  # nothing here is random
        self.flag.reset(slots)
        self._follower.reset(slots)
        for slot in slots:
            self._familiar.pop(slot, None)
            self._known.discard(slot)

    @torch.inference_mode()
    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        """Return chunks (B, Ta, Da) with score, flag and matches."""
        fitted, horizon = self.fitted(), self.config.action_horizon
        self.flag.check_begun(slots)
        views = {c: input_checks.images(observation, c, fitted.network.observation.image_size) for c in self.cameras}
        keys, here = self._look(fitted.network.observation.observe(observation), [v[:, -1] for v in views.values()])
        first = [slot not in self._familiar for slot in slots]
        found = self._look_up(keys, slots, first)
        rows = found.rows[:, 0]
        chunk, change = fitted.table.demonstrated.chunk(rows, horizon), here - fitted.predicted[rows]
        self._forget_moved(change, slots, first)
        nearest = found.similarities[:, 0] if found.closest is None else found.closest
        trusted = self._trusted(slots, 1 - nearest)
        if self.config.correct:
            chunk = chunk + self._correction(change) * trusted[:, None, None]
        level = self.flag.threshold(fitted.calibration_scores)
        return self.flag.decision(observation, slots, fitted.table, found, chunk, level)

    def footprint(self) -> Footprint:
        """Return the bytes of the network and of the table.

        The table has actions and predictions.
        """
        if self._fitted is None:
            return Footprint()
        table = self._fitted.table.bytes + self._fitted.predicted.nbytes
        first = self._fitted.first_key.bytes if self._fitted.first_key else 0
        return Footprint(count_bytes(self._fitted.network), table + first)

    def inference_note(self) -> str:
        """Return the index and its size."""
        if self._fitted is None:
            return ""
        return f"{self._fitted.table.index.kind} index, {len(self._fitted.table.index)} frames"

    def fitted(self) -> Fitted:
        """Return what `fit` made; raise CheckpointError before `fit` or `load`."""
        if self._fitted is None:
            raise input_checks.not_fitted(self.name)
        return self._fitted

    def _look_up(self, keys: Float32, slots: Sequence[int], first: Sequence[bool]) -> Lookup:
        """Find the frames for `keys` (B, D), as `lookup` and `follow` say.

        At an episode's `first` decision (B,) the first key finds where it begins.
        """
        fitted = self.fitted()
        if self.config.lookup == "nearest":
            return fitted.table.lookup(keys, self.config.top_k)
        begun: dict[int, int] = {}
        for key, slot, is_first in zip(keys, slots, first, strict=True):
            if fitted.first_key and is_first:
                projected = fitted.first_key.project(key)
                begun[slot] = fitted.first_key.nearest(projected)
                if self.config.known and fitted.first_key.ambiguity(projected) <= self.config.known:
                    self._known.add(slot)
        if self.config.follow == "known":
            free = set(slots) - self._known
            self._follower.reset(free)  # so that they find the nearest of all frames
            begun = {slot: place for slot, place in begun.items() if slot not in free}
        return self._follower.lookup(fitted.table, keys, slots, begun)

    def _forget_moved(self, change: Float32, slots: Sequence[int], first: Sequence[bool]) -> None:
        """Forget that places are known where the object has been moved.

        `change` (B, Ta, Da): by how much the prediction changed. At a `first` decision
        nothing has been moved, and the arm's own start changes the prediction most.
        """
        if self.config.known_until and not self._known.isdisjoint(slots):
            moved = self._move(change) >= self.config.known_until
            self._known -= {slot for slot, by, is_first in zip(slots, moved, first, strict=True) if by and not is_first}

    def _trusted(self, slots: Sequence[int], scores: Float32) -> NDArray[np.bool_]:
        """Return whether each slot's chunk is to be corrected, bool (B,).

        It is corrected if the episode began with a familiar image, by `scores` (B,) of its
        first decision, and not where a demonstration began. Deciding anew at each decision
        was worse (README.md).
        """
        for slot, score in zip(slots, scores, strict=True):
            if slot not in self._familiar:
                self._familiar[slot] = bool(score <= self.fitted().familiar_limit)
        return np.array([self._familiar[slot] and slot not in self._known for slot in slots])

    def _move(self, change: Float32) -> Float32:
        """Return the `largest_move` in `change` (B, Ta, Da): (B,)."""
        half_range = numpy_of(self.fitted().network.action_range.half_range)
        return largest_move(change, half_range, change.shape[-1] // self.task.arms)

    def _correction(self, change: Float32) -> Float32:
        """Return what is added to retrieved chunks, (B, Ta, Da), in the task's units.

        `change` (B, Ta, Da): by how much the prediction changed. Gripper commands stay
        the demonstration's own.
        """
        per_arm = change.reshape(*change.shape[:2], self.task.arms, -1).copy()
        per_arm[..., -1] = 0
        moved = self._move(change) ** 2
        noise = (self.config.shrinkage * self.fitted().shrinkage_unit) ** 2
        weight = moved / np.maximum(moved + noise, np.finfo(np.float32).tiny)
        corrected: Float32 = (per_arm.reshape(change.shape) * weight[:, None, None]).astype(np.float32)
        return corrected

    @torch.inference_mode()
    def _over(self, frames: Frames) -> tuple[Float32, Float32]:
        """Return keys (N, D) and predicted chunks (N, Ta, Da) at all frames.

        There is no augmentation.
        """
        network, rows = self.regressor.fitted(), observation_rows(frames, self.config.obs_horizon)
        keys, predicted = [], []
        for start in range(0, len(frames), FIT_BATCH):
            window = rows[start : start + FIT_BATCH]
            images = {c: plain(frames.pixels[c][window].flatten(0, 1), self.config) for c in self.cameras}
            pose = network.observation.pose_range.normalize(frames.agent_pos[window])
            key, chunk = self._look(Seen(images, pose), [frames.pixels[c][window[:, -1]] for c in self.cameras])
            keys.append(key)
            predicted.append(chunk)
        return np.concatenate(keys), np.concatenate(predicted)

    def _look(self, seen: Seen, views: Sequence[Tensor]) -> tuple[Float32, Float32]:
        """Return keys (B, D) of length 1 and predicted chunks (B, Ta, Da).

        `views`: uint8 (B, H, W, 3) per camera.
        """
        network, weight = self.regressor.fitted(), self.config.appearance
        features, chunk = network.look(seen)
        parts = [(1 - weight) ** 0.5 * F.normalize(features, dim=1)]
        if weight:
            parts.append(weight**0.5 * thumbnails([v.to(features.device) for v in views], self.config.appearance_size))
        predicted = network.action_range.restore(chunk[:, : self.config.action_horizon])
        return numpy_of(torch.cat(parts, dim=1)), numpy_of(predicted.contiguous())
