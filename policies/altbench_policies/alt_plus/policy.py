"""ALT+: look the present frame up, then carry the retrieved chunk by what the network sees to differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from altbench.api import (
    POSE_ACTION_DIM,
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
from altbench_policies.augment import plain
from altbench_policies.bc import BehaviourCloning
from altbench_policies.bc.policy import ChunkRegressor
from altbench_policies.checkpoint import numpy_of
from altbench_policies.frames import Frames, join, observation_rows
from altbench_policies.lookup.appearance import thumbnails
from altbench_policies.lookup.flag import Flag
from altbench_policies.lookup.table import Table, first_frame_scores, leave_one_out_scores
from altbench_policies.observation import Seen
from altbench_policies.vision import count_bytes

FIT_BATCH = 256


@dataclass(frozen=True)
class Fitted:
    """The regressor, the table, what it predicted at each of the table's N frames (float32 (N, Ta, Da), in the task's
    units), and the calibration scores, one per demonstration.

    `first_scores`: those of any two demonstrations' first frames. `miss`: by how much predictions miss what was demonstrated
    at the table's frames, the largest error of a position in half the demonstrations' range, in the median.
    """

    network: ChunkRegressor
    table: Table
    predicted: Float32
    calibration_scores: Float32
    first_scores: Float32
    miss: float

    @classmethod
    def of(cls, network: ChunkRegressor, table: Table, predicted: Float32, calibration_scores: Float32) -> Self:
        """With what follows from the others."""
        shown = table.demonstrated.chunk(np.arange(len(table.demonstrated)), predicted.shape[1])
        miss = float(np.median(largest_move(predicted - shown, numpy_of(network.action_range.half_range))))
        return cls(network, table, predicted, calibration_scores, first_frame_scores(table), miss)


class AltPlus(Trainable[AltPlusSpec]):
    """The retrieved chunk, plus how the network's prediction here differs from its prediction at the retrieved frame.

    On a training frame the difference is nil and the demonstration is replayed; elsewhere the chunk keeps the
    demonstration's residual and moves with the object. With `familiar`, episodes that begin with an image that is not
    are played as demonstrated. Ours; after ALT (He et al. 2025, arXiv 2505.05787).
    """

    name: ClassVar[str] = "alt_plus"
    version: ClassVar[int] = 1
    presets = PRESETS
    runtime_fields = RUNTIME_FIELDS

    def __init__(self, task: TaskInfo, config: AltPlusSpec) -> None:
        super().__init__(task, config)
        self.regressor = BehaviourCloning(task, config)
        self.cameras = self.regressor.cameras
        self.flag = Flag(config, task.arms)
        self._fitted: Fitted | None = None
        self._familiar: dict[int, bool] = {}  # slot -> whether its episode began with a familiar image

    @property
    def requirements(self) -> Requirements:
        """What the regressor needs."""
        return self.regressor.requirements

    def fit(self, demonstrations: Sequence[Demonstration], context: FitContext) -> None:
        """Train the regressor, then run it over every frame without augmentation and calibrate the threshold."""
        self.regressor.fit(demonstrations, context)
        frames = join(demonstrations, self.cameras, context.device)
        keys, predicted = self._over(frames)
        table = Table.of(frames, keys, self.config)
        scores = leave_one_out_scores(table, self.config.action_horizon)
        self._fitted = Fitted.of(self.regressor.fitted(), table, predicted, scores)

    def save(self, folder: Path) -> None:
        """Write the network, the table, the predictions at its frames, and the calibration scores."""
        fitted = self.fitted()
        values = {"image_size": list(fitted.network.observation.image_size)}
        arrays = {"predicted": fitted.predicted, "calibration_scores": fitted.calibration_scores}
        written = checkpoint.Checkpoint(values, fitted.network.state_dict(), {**fitted.table.arrays(), **arrays})
        checkpoint.write(folder, written)

    def load(self, folder: Path, device: str = "cpu") -> None:
        """Read what `save` wrote; CheckpointError where it is damaged or of other settings."""
        self.regressor.load(folder, device)
        saved = checkpoint.read(folder)
        table = Table.from_arrays(saved.arrays, self.config)
        predicted, scores = saved.array("predicted"), saved.array("calibration_scores")
        self._fitted = Fitted.of(self.regressor.fitted(), table, predicted, scores)

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Forget the gripper command that each slot was last given, and what its episode began with."""
        del seeds  # nothing here is random
        self.flag.reset(slots)
        for slot in slots:
            self._familiar.pop(slot, None)

    @torch.inference_mode()
    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        """Chunks (B, Ta, Da) with score, flag and matches."""
        fitted, horizon = self.fitted(), self.config.action_horizon
        self.flag.check_begun(slots)
        views = {c: input_checks.images(observation, c, fitted.network.observation.image_size) for c in self.cameras}
        keys, here = self._look(fitted.network.observation.observe(observation), [v[:, -1] for v in views.values()])
        found = fitted.table.lookup(keys, self.config.top_k)
        rows = found.rows[:, 0]
        chunk = fitted.table.demonstrated.chunk(rows, horizon)
        if self.config.correct:
            trusted = self._trusted(slots, 1 - found.similarities[:, 0])
            chunk = chunk + self._correction(here - fitted.predicted[rows]) * trusted[:, None, None]
        level = self.flag.threshold(fitted.calibration_scores)
        return self.flag.decision(observation, slots, fitted.table, found, chunk, level)

    def footprint(self) -> Footprint:
        """Bytes of the network, and of the table with its actions and predictions."""
        if self._fitted is None:
            return Footprint()
        return Footprint(count_bytes(self._fitted.network), self._fitted.table.bytes + self._fitted.predicted.nbytes)

    def inference_note(self) -> str:
        """Index and its size."""
        if self._fitted is None:
            return ""
        return f"{self._fitted.table.index.kind} index, {len(self._fitted.table.index)} frames"

    def fitted(self) -> Fitted:
        """What fitting made, or CheckpointError where there is nothing yet."""
        if self._fitted is None:
            raise input_checks.not_fitted(self.name)
        return self._fitted

    def _trusted(self, slots: Sequence[int], scores: Float32) -> NDArray[np.bool_]:
        """Whether each slot's chunk is to be corrected (B,); by its `scores` (B,) where its episode has just begun."""
        if self.config.familiar is None:
            return np.ones(len(slots), np.bool_)
        limit = familiar_limit(self.fitted().first_scores, self.config.familiar)
        for slot, score in zip(slots, scores, strict=True):
            self._familiar.setdefault(slot, bool(score <= limit))
        return np.array([self._familiar[slot] for slot in slots])

    def _correction(self, change: Float32) -> Float32:
        """What is added to retrieved chunks where the prediction changed by `change` (B, Ta, Da), in the task's units.

        Gripper commands are the demonstration's own.
        """
        fitted = self.fitted()
        per_arm = change.reshape(*change.shape[:2], self.task.arms, POSE_ACTION_DIM).copy()
        per_arm[..., -1] = 0
        moved = largest_move(change, numpy_of(fitted.network.action_range.half_range)) ** 2
        noise = (self.config.shrinkage * (fitted.miss if self.config.shrinkage_unit == "miss" else 1.0)) ** 2
        weight = moved / np.maximum(moved + noise, np.finfo(np.float32).tiny)
        corrected: Float32 = (per_arm.reshape(change.shape) * weight[:, None, None]).astype(np.float32)
        return corrected

    @torch.inference_mode()
    def _over(self, frames: Frames) -> tuple[Float32, Float32]:
        """Keys (N, D) and predicted chunks (N, Ta, Da) at all frames, without augmentation."""
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
        """Keys (B, D) of length 1 and predicted chunks (B, Ta, Da); `views`: uint8 (B, H, W, 3) per camera."""
        network, weight = self.regressor.fitted(), self.config.appearance
        features, chunk = network.look(seen)
        parts = [(1 - weight) ** 0.5 * F.normalize(features, dim=1)]
        if weight:
            parts.append(weight**0.5 * thumbnails([v.to(features.device) for v in views], self.config.appearance_size))
        predicted = network.action_range.restore(chunk[:, : self.config.action_horizon])
        return numpy_of(torch.cat(parts, dim=1)), numpy_of(predicted.contiguous())


def largest_move(change: Float32, half_range: Float32) -> Float32:
    """The largest change of a position in chunks (B, Ta, Da), in units of `half_range` (Da,), over steps and arms: (B,)."""
    inverse = np.divide(1, half_range, out=np.zeros_like(half_range), where=half_range > 0)
    by_arm = np.abs(change * inverse).reshape(*change.shape[:2], -1, POSE_ACTION_DIM)
    moved: Float32 = by_arm[..., :3].max(axis=(1, 2, 3))
    return moved


def familiar_limit(first_scores: Float32, share: float) -> float:
    """The score up to which an episode's first image is familiar: that of a `share` of all pairs of demonstrations.

    Leaving one demonstration out at a time, as the flag does, would ask for more of a table with several demonstrations of
    each pose: pairs say how different places look however often each was shown. inf without a pair.
    """
    return float(np.quantile(first_scores, share)) if len(first_scores) else math.inf
