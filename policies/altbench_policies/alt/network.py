"""ALT's key, and the contrastive loss that trains it.

One encoder serves all views; their vectors are fused to one of length 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from altbench.api import Float32
from altbench_policies.alt.config import AltSpec
from altbench_policies.augment import ImageBank, plain
from altbench_policies.checkpoint import numpy_of
from altbench_policies.frames import Frames, draw_rows
from altbench_policies.lookup.appearance import thumbnails
from altbench_policies.normalize import MinMax
from altbench_policies.pretrained import ImageNetRange, load_resnet18, weights_file
from altbench_policies.vision import make_encoder

EMBEDDING_BATCH = 256
"""Frames that are embedded at once when a table is built; bounds memory."""


class KeyNetwork(nn.Module):
    """A network from V views (and the pose) of a frame to its key, a unit vector.

    Source: He et al. 2025 (arXiv 2505.05787).
    """

    def __init__(self, config: AltSpec, cameras: Sequence[str], pose_dim: int, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.config, self.cameras, self.image_size = config, tuple(cameras), image_size
        self.encoder, features = make_encoder(config, config.output_size(*image_size))
        if config.weights:
            self.encoder = nn.Sequential(ImageNetRange(), self.encoder)
        self.view: nn.Module = nn.Identity()
        if config.view_features:
            self.view, features = nn.Linear(features, config.view_features), config.view_features
        self.features = features
        self.pose_range = MinMax(pose_dim)
        joined = len(cameras) * features
        if config.pose:
            self.pose = nn.Sequential(
                nn.Linear(pose_dim, config.pose_hidden),
                nn.ReLU(),
                nn.Linear(config.pose_hidden, config.pose_features),
            )
            joined += config.pose_features
        self.fuse: nn.Module = nn.Identity()
        self.dimension = joined
        if config.fuse == "mlp":
            self.dimension = config.embedding
            self.fuse = nn.Sequential(
                nn.Linear(joined, config.hidden), nn.ReLU(), nn.Linear(config.hidden, config.embedding)
            )

    def forward(self, images: Tensor, pose: Tensor) -> Tensor:
        """Return keys float32 (B, D) of length 1.

        `images`: float (V·B, 3, H, W), view by view. `pose`: normalised (B, Dp).
        """
        batch = pose.shape[0]
        features = self.view(self.encoder(images)).view(-1, batch, self.features)
        parts = [self._unit(view) for view in features]
        if self.config.pose:
            parts.append(self.config.pose_weight * self._unit(self.pose(pose)))
        return F.normalize(self.fuse(torch.cat(parts, dim=1)).float(), dim=1)

    def load_pretrained(self) -> str:
        """Load the weights that the config names; return the SHA-256 of their file."""
        encoder: Any = self.encoder
        return load_resnet18(encoder[1][0], weights_file(self.config.weights), self.config.weights_sha256)

    @torch.inference_mode()
    def embed(self, pixels: Mapping[str, Tensor], agent_pos: Tensor) -> Float32:
        """Return keys float32 (B, D) of images without augmentation.

        `pixels`: camera -> uint8 (B, H, W, 3). `agent_pos`: (B, Dp).
        """
        device = self.pose_range.middle.device
        views = [pixels[camera].to(device) for camera in self.cameras]
        images = torch.cat([plain(view, self.config) for view in views])
        learned = self(images, self.pose_range.normalize(agent_pos.to(device)))
        keys: Float32 = numpy_of(self._with_appearance(learned, views))
        return keys

    def _with_appearance(self, learned: Tensor, views: Sequence[Tensor]) -> Tensor:
        """Return keys that have the thumbnails' part beside the learned one.

        Their products are (1 − w) · the learned similarity + w · that of the
        thumbnails, with w = `appearance`.
        """
        weight = self.config.appearance
        if weight == 0:
            return learned
        plain_part = thumbnails(views, self.config.appearance_size)
        return torch.cat([(1 - weight) ** 0.5 * learned, weight**0.5 * plain_part], dim=1)

    def embed_frames(self, frames: Frames) -> Float32:
        """Return keys (N, D) of all frames, without augmentation."""
        batches = [slice(b, b + EMBEDDING_BATCH) for b in range(0, len(frames), EMBEDDING_BATCH)]
        keys = [self.embed({c: p[rows] for c, p in frames.pixels.items()}, frames.agent_pos[rows]) for rows in batches]
        return np.concatenate(keys)

    def _unit(self, part: Tensor) -> Tensor:
        """Scale views to length 1 if they are set side by side.

        So they weigh the same. With the MLP they stay as they are: it learns its own
        weights.
        """
        return F.normalize(part.float(), dim=1) if self.config.fuse == "concat" else part.float()


def nt_xent(first: Tensor, second: Tensor, temperature: float, logits: str = "fp32") -> Tensor:
    """Return the normalised temperature-scaled cross entropy of B pairs, a scalar.

    `first`, `second`: unit vectors (B, D). Each must pick its partner among the other
    2B − 1. `logits`: as in AltSpec. Source: Chen et al. 2020 (SimCLR), equation 1.
    """
    device, batch = first.device, first.shape[0]
    keys = torch.cat([first, second]).float()
    # Nearly equal keys have similarities near 1; bf16 keeps two digits of them.
    rounded = logits == "autocast" and torch.is_autocast_enabled(device.type)
    with torch.autocast(device.type, torch.bfloat16, enabled=rounded):
        similarity = keys @ keys.T / temperature
        similarity.fill_diagonal_(-torch.inf)
        return F.cross_entropy(similarity, torch.arange(2 * batch, device=device).roll(batch))


@dataclass(frozen=True)
class Pairs:
    """Two augmented views of B frames.

    `images`: float (V·2B, 3, H, W). `pose`: float (2B, Dp).
    """

    images: Tensor
    pose: Tensor


class PairObjective:
    """NT-Xent over two augmentations of each drawn frame."""

    def __init__(self, network: KeyNetwork, frames: Frames) -> None:
        self.network, self.config, self.frames = network, network.config, frames
        self.banks = [ImageBank(frames.pixels[camera], network.config) for camera in network.cameras]
        self.poses = network.pose_range.normalize(frames.agent_pos)

    def sample(self, generator: torch.Generator) -> Pairs:
        """Draw the augmented views of `_rows`."""
        rows = self._rows(generator)
        images = torch.cat([bank.augmented(rows, generator) for bank in self.banks])
        noise = torch.randn(rows.shape[0], self.poses.shape[1], generator=generator).to(self.poses.device)
        return Pairs(images, self.poses[rows.to(self.poses.device)] + self.config.pose_noise * noise)

    def loss(self, batch: Pairs) -> Tensor:
        """Return the NT-Xent of the batch."""
        first, second = self.network(batch.images, batch.pose).chunk(2)
        return nt_xent(first, second, self.config.temperature, self.config.logits)

    def _rows(self, generator: torch.Generator) -> Tensor:
        """Return rows (2B,): `batch_size` different frames, then the partner of each."""
        anchors = draw_rows(len(self.frames), self.config.batch_size, generator)
        return torch.cat([anchors, self._partners(anchors, generator)])

    def _partners(self, anchors: Tensor, generator: torch.Generator) -> Tensor:
        reach = self.config.temporal_positive
        steps = torch.randint(-reach, reach + 1, anchors.shape, generator=generator)
        return torch.minimum(torch.maximum(anchors + steps, self.frames.first[anchors]), self.frames.last[anchors])
