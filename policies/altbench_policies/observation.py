"""The observation as one vector: To frames of images, and the pose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn

from altbench.api import Observation
from altbench_policies import input_checks
from altbench_policies.augment import AugmentSpec, ImageBank, plain
from altbench_policies.frames import Frames, observation_rows
from altbench_policies.normalize import MinMax
from altbench_policies.vision import VisionSpec, make_encoder


class ObservationSpec(VisionSpec, AugmentSpec):
    """Config of the observation that a network sees.

    `cameras`: which views (empty: all of the task's). `obs_horizon`: To, the latest
    observations that a decision sees. `share_encoder`: use one encoder for all cameras
    instead of one each. `view_features`: length of one image's vector,
    made by a linear layer (0: the encoder's own features). `pose`: whether the network
    sees the normalised agent_pos.
    """

    cameras: tuple[str, ...] = ()
    obs_horizon: int = Field(default=2, ge=1)
    share_encoder: bool = False
    view_features: int = Field(default=64, ge=0)
    pose: bool = True


@dataclass(frozen=True)
class Seen:
    """A batch of observations, as a network sees them.

    `images`: camera -> float (B·To, 3, h, w). `pose`: normalised, float (B, To, Dp).
    """

    images: Mapping[str, Tensor]
    pose: Tensor


class ObservationInput(nn.Module):
    """Base of what a network sees: its cameras, and the range of the pose."""

    def __init__(
        self, config: ObservationSpec, cameras: Sequence[str], pose_dim: int, image_size: tuple[int, int]
    ) -> None:
        super().__init__()
        self.config, self.cameras, self.image_size = config, tuple(cameras), image_size
        self.pose_range = MinMax(pose_dim)

    def observe(self, observation: Observation) -> Seen:
        """Return the bench's observation as this network sees it.

        Images are not augmented; the tensors are on the network's device.
        """
        device, horizon = self.pose_range.middle.device, self.config.obs_horizon
        images = {}
        for camera in self.cameras:
            pixels = input_checks.images(observation, camera, self.image_size)[:, -horizon:]
            images[camera] = plain(pixels.flatten(0, 1).to(device), self.config)
        pose = torch.from_numpy(observation.agent_pos[:, -horizon:]).to(device)
        return Seen(images, self.pose_range.normalize(pose))


class ObservationEncoder(ObservationInput):
    """An encoder of To frames of every camera and the pose into (B, `dimension`)."""

    def __init__(
        self, config: ObservationSpec, cameras: Sequence[str], pose_dim: int, image_size: tuple[int, int]
    ) -> None:
        super().__init__(config, cameras, pose_dim, image_size)
        count = 1 if config.share_encoder else len(cameras)
        self.encoders = nn.ModuleList(self._encoder() for _ in range(count))
        per_step = len(cameras) * self.features + (pose_dim if config.pose else 0)
        self.dimension = config.obs_horizon * per_step

    def _encoder(self) -> nn.Module:
        encoder, features = make_encoder(self.config, self.config.output_size(*self.image_size))
        self.features = self.config.view_features or features
        if not self.config.view_features:
            return encoder
        return nn.Sequential(encoder, nn.Linear(features, self.config.view_features))

    def forward(self, seen: Seen) -> Tensor:
        """Return float32 (B, dimension): each camera's To features, then the To poses."""
        batch = seen.pose.shape[0]
        parts = [seen.pose.flatten(1)] if self.config.pose else []
        for i, camera in enumerate(self.cameras):
            encoder = self.encoders[i % len(self.encoders)]
            parts.insert(i, encoder(seen.images[camera]).float().view(batch, -1))
        return torch.cat(parts, dim=1)

    def by_step(self, features: Tensor) -> Tensor:
        """Reorder what `forward` returns, (B, dimension), by step.

        Returns (B, To, dimension / To). A step has its views' features first, then its
        pose.
        """
        horizon, cameras = self.config.obs_horizon, len(self.cameras)
        lengths = [horizon * self.features] * cameras
        lengths += [self.dimension - sum(lengths)] if self.config.pose else []
        parts = torch.split(features, lengths, dim=1)
        return torch.cat([part.view(len(part), horizon, -1) for part in parts], dim=2)


class ObservationSampler:
    """Augmented training observations, cut from banks of all frames.

    `rows`: int64 (N, T), the frames that the sample at each frame sees; by default the
    last To.
    """

    def __init__(self, sees: ObservationInput, frames: Frames, rows: Tensor | None = None) -> None:
        self.banks = {c: ImageBank(frames.pixels[c], sees.config) for c in sees.cameras}
        self.rows = observation_rows(frames, sees.config.obs_horizon) if rows is None else rows
        self.poses = sees.pose_range.normalize(frames.agent_pos)

    def sample(self, rows: Tensor, generator: torch.Generator) -> Seen:
        """Return what is seen at frames `rows` (B,), augmented from `generator`."""
        windows = self.rows[rows]
        images = {camera: bank.augmented(windows, generator) for camera, bank in self.banks.items()}
        return Seen(images, self.poses[windows.to(self.poses.device)])
