"""ALT: encode the present frame, look up the nearest training frame, return what its demonstration did next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from altbench.api import (
    AGENT_POS_DIM,
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
from altbench_policies import border, checkpoint
from altbench_policies.alt.network import KeyNetwork, PairObjective
from altbench_policies.alt.settings import PRESETS, RUNTIME_FIELDS, AltSpec
from altbench_policies.alt.table import Table, conformal_threshold, leave_one_out_scores
from altbench_policies.augment import plain
from altbench_policies.resume import fingerprint
from altbench_policies.training import train
from altbench_policies.vision import count_bytes, seeded_network
from altbench_policies.windows import Frames, join

POSE = 9  # position and rot6d, the same in agent_pos and in an ee_pose action
GRIPPER_OPEN = -1.0
EMBEDDING_BATCH = 256
TABLE = ("keys", "actions", "last", "episode", "frame")


class Alt(Trainable):
    """Action lookup table. Source: He et al. 2025 (arXiv 2505.05787), section 4."""

    name: ClassVar[str] = "alt"
    version: ClassVar[int] = 1
    config_type: ClassVar[type[AltSpec]] = AltSpec
    presets = PRESETS
    runtime_fields = RUNTIME_FIELDS

    def __init__(self, task: TaskInfo, config: AltSpec) -> None:
        super().__init__(task, config)
        self.settings = config
        self.cameras = config.cameras or task.cameras
        self.device = "cpu"
        self._image_size: tuple[int, int] | None = None
        self._grippers: dict[int, Float32] = {}  # slot -> last command per arm, for holding

    @property
    def requirements(self) -> Requirements:
        """Images of its cameras; the last frame alone is looked at."""
        horizon = self.settings.action_horizon
        return Requirements(self.cameras, self.settings.obs_horizon, horizon, horizon, image_size=self._image_size)

    def fit(self, demonstrations: Sequence[Demonstration], context: FitContext) -> None:
        """Train the key, then embed every frame without augmentation and calibrate the threshold."""
        self.device = context.device
        frames = join(demonstrations, self.cameras, self.device)
        self._build(frames.image_size, context.seed)
        self.network.pose_range.fit(frames.agent_pos)
        train(
            self.network,
            PairObjective(self.network, frames),
            self.settings,
            context,
            frames=len(frames),
            images_per_step=2 * len(self.cameras) * min(self.settings.batch_size, len(frames)),
            fingerprint=self._fingerprint(frames),
        )
        table = Table.of(frames, self._keys_of(frames))
        self._use(table, leave_one_out_scores(table, self.settings.action_horizon))

    def save(self, folder: Path) -> None:
        """Write the network and the table."""
        border.check_fitted(self._image_size is not None, self.name)
        values = {"image_size": list(self._image_size or ())}
        arrays = {**self.table.arrays(), "calibration_scores": self.calibration_scores}
        checkpoint.write(folder, checkpoint.Checkpoint(values, self.network.state_dict(), arrays))

    def load(self, folder: Path, device: str = "cpu") -> None:
        """Read what `save` wrote; CheckpointError where it is damaged or of other settings."""
        saved = checkpoint.read(folder)
        self.device = device
        height, width = saved.value("image_size")
        self._build((height, width), seed=0)
        saved.fill(self.network)
        self.network.eval()
        table = Table.from_arrays({name: saved.array(name) for name in TABLE})
        self._use(table, saved.array("calibration_scores"))

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Forget the gripper command that each slot was last given."""
        del seeds  # nothing here is random
        for slot in slots:
            self._grippers[slot] = np.full(self.task.arms, GRIPPER_OPEN, np.float32)

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        """Chunks (B, Ta, Da) with score, flag and matches."""
        border.check_fitted(self._image_size is not None, self.name)
        border.check_begun(slots, self._grippers)
        found = self.table.lookup(self.embed(observation), self.settings.top_k)
        scores = 1 - found.similarities[:, 0]
        is_ood = scores > self.threshold
        actions = self.table.chunk(found.rows[:, 0], self.settings.action_horizon)
        if self.settings.when_ood == "hold":
            for b in np.flatnonzero(is_ood):
                actions[b] = self._hold(observation.agent_pos[b, -1], self._grippers[slots[b]])
        for b, slot in enumerate(slots):
            self._grippers[slot] = actions[b, -1].reshape(self.task.arms, -1)[:, -1].copy()
        return Decision(actions, scores, is_ood, self.table.names(found.rows), found.similarities)

    def embed(self, observation: Observation) -> Float32:
        """Keys of the last frame of each slot, float32 (B, D) of length 1."""
        size = self._image_size or (0, 0)
        last = {c: border.images(observation, c, size)[:, -1].to(self.device) for c in self.cameras}
        return self._embed(last, torch.from_numpy(observation.agent_pos[:, -1]).to(self.device))

    def footprint(self) -> Footprint:
        """Bytes of the network, and of the table with its actions."""
        if self._image_size is None:
            return Footprint()
        return Footprint(count_bytes(self.network), self.table.bytes)

    def _build(self, image_size: tuple[int, int], seed: int) -> None:
        views, pose_dim = len(self.cameras), self.task.agent_pos_dim
        self.network = seeded_network(lambda: KeyNetwork(self.settings, views, pose_dim, image_size), seed, self.device)
        self._image_size = image_size

    def _use(self, table: Table, calibration_scores: Float32) -> None:
        """Act from `table`, with the threshold that the settings ask for."""
        self.table, self.calibration_scores = table, calibration_scores
        gamma = self.settings.gamma
        calibrated = gamma == "calibrated"
        rate = self.settings.false_alarm_rate
        self.threshold = conformal_threshold(self.calibration_scores, rate) if calibrated else 1 - float(gamma)

    @torch.inference_mode()
    def _embed(self, pixels: dict[str, Tensor], agent_pos: Tensor) -> Float32:
        images = torch.cat([plain(pixels[c], self.settings) for c in self.cameras])
        keys = self.network(images, self.network.pose_range.normalize(agent_pos))
        array: Float32 = checkpoint.numpy_of(keys)
        return array

    def _keys_of(self, frames: Frames) -> Float32:
        """Keys (N, D) of all frames, without augmentation."""
        parts = []
        for begin in range(0, len(frames), EMBEDDING_BATCH):
            rows = slice(begin, begin + EMBEDDING_BATCH)
            parts.append(self._embed({c: p[rows] for c, p in frames.pixels.items()}, frames.agent_pos[rows]))
        return np.concatenate(parts)

    def _hold(self, agent_pos: Float32, grippers: Float32) -> Float32:
        """The present pose with the last gripper command, for the whole chunk: (Ta, Da)."""
        poses = agent_pos.reshape(self.task.arms, AGENT_POS_DIM)[:, :POSE]
        action = np.concatenate([poses, grippers[:, None]], axis=1).reshape(self.task.arms * POSE_ACTION_DIM)
        return np.tile(action.astype(np.float32), (self.settings.action_horizon, 1))

    def _fingerprint(self, frames: Frames) -> str:
        settings = self.settings.model_dump(exclude=set(self.runtime_fields))
        return fingerprint(self.name, self.version, settings, frames.digest())
