"""ACT's network: a conditional variational autoencoder of chunks, made of transformers.

Source: Zhao et al. 2023, "Learning Fine-Grained Bimanual Manipulation with Low-Cost
Hardware", section IV and figure 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from altbench.api import TaskInfo
from altbench_policies.act.config import ActSpec
from altbench_policies.chunk_policy import RangedNetwork
from altbench_policies.observation import ObservationInput, Seen
from altbench_policies.vision import make_convolutions


@dataclass(frozen=True)
class Style:
    """The posterior of z: `mean` and `log_variance`, float (B, Dz)."""

    mean: Tensor
    log_variance: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Return z (B, Dz) from standard normal `noise` of the same shape."""
        return self.mean + noise * (self.log_variance / 2).exp()

    def divergence(self) -> Tensor:
        """Return the KL divergence from the standard normal, (B,).

        Source: Kingma & Welling 2014, appendix B.
        """
        return -0.5 * (1 + self.log_variance - self.mean.square() - self.log_variance.exp()).sum(dim=1)


class StyleEncoder(nn.Module):
    """A transformer from pose and demonstrated chunk to the posterior of the style z.

    It is used in training alone.
    """

    def __init__(self, config: ActSpec, pose_dim: int, action_dim: int) -> None:
        super().__init__()
        width = config.hidden
        self.pose, self.action = nn.Linear(pose_dim, width), nn.Linear(action_dim, width)
        self.summary = _positions(1, width)
        self.positions = _positions(2 + config.pred_horizon, width)
        self.transformer = _encoder(config, config.style_layers)
        self.head = nn.Linear(width, 2 * config.latent)

    def forward(self, pose: Tensor, chunk: Tensor, padded: Tensor | None) -> Style:
        """Return the posterior of z.

        `pose`: (B, Dp). `chunk`: (B, Tp, Da). `padded`: bool (B, Tp), the actions to
        leave out (None: none).
        """
        tokens = torch.cat([self.summary.expand(len(pose), 1, -1), self.pose(pose)[:, None], self.action(chunk)], dim=1)
        left_out = None if padded is None else F.pad(padded, (2, 0))
        summary = self.transformer(tokens + self.positions, src_key_padding_mask=left_out)[:, 0]
        mean, log_variance = self.head(summary).float().chunk(2, dim=1)
        return Style(mean, log_variance)


class ImageTokens(nn.Module):
    """One camera's images as tokens, one for each `patch`² cells of the feature map.

    float (B, 3, h, w) -> (B, `count`, width).
    """

    def __init__(self, config: ActSpec, image_size: tuple[int, int]) -> None:
        super().__init__()
        patch = config.patch
        self.convolutions, (channels, height, width) = make_convolutions(config, config.output_size(*image_size))
        self.padding = (0, -width % patch, 0, -height % patch)  # so that patches cover all cells
        self.project = nn.Conv2d(channels, config.hidden, patch, patch)
        self.count = math.ceil(height / patch) * math.ceil(width / patch)

    def forward(self, images: Tensor) -> Tensor:
        """Return the tokens of all patches, row by row."""
        cells: Tensor = self.project(F.pad(self.convolutions(images), self.padding))
        return cells.flatten(2).transpose(1, 2)


class ActNetwork(RangedNetwork):
    """A network from images, pose and style to a normalised chunk."""

    def __init__(self, config: ActSpec, cameras: Sequence[str], task: TaskInfo, image_size: tuple[int, int]) -> None:
        numbers = task.action_dim(config.control_mode)
        super().__init__(numbers, ObservationInput(config, cameras, task.agent_pos_dim, image_size))
        self.config, width = config, config.hidden
        self.style = StyleEncoder(config, task.agent_pos_dim, numbers)
        count = 1 if config.share_encoder else len(cameras)
        self.images = nn.ModuleList(ImageTokens(config, image_size) for _ in range(count))
        self.latent, self.pose = nn.Linear(config.latent, width), nn.Linear(task.agent_pos_dim, width)
        cells = sum(self._tokens(i).count for i in range(len(cameras)))
        self.positions = _positions(2 + cells, width)
        self.queries = _positions(config.pred_horizon, width)
        self.encoder = _encoder(config, config.encoder_layers)
        layer = nn.TransformerDecoderLayer(width, config.heads, config.feedforward, config.dropout, batch_first=True)
        self.decoder = nn.TransformerDecoder(layer, config.decoder_layers, nn.LayerNorm(width))
        self.head = nn.Linear(width, numbers)

    def forward(self, seen: Seen, latent: Tensor | None = None) -> Tensor:
        """Return float32 (B, Tp, Da), from the present frame on.

        `latent`: z (B, Dz); None: z = 0.
        """
        pose = seen.pose[:, -1] * self.config.pose  # zeros if it is not to be seen
        if latent is None:
            latent = pose.new_zeros(len(pose), self.config.latent)
        tokens = [self.latent(latent)[:, None], self.pose(pose)[:, None]]
        tokens += [self._tokens(i)(seen.images[camera]) for i, camera in enumerate(self.observation.cameras)]
        memory = self.encoder(torch.cat(tokens, dim=1) + self.positions)
        chunk: Tensor = self.head(self.decoder(self.queries.expand(len(pose), -1, -1), memory))
        return chunk.float()

    def _tokens(self, camera: int) -> ImageTokens:
        tokens = self.images[camera % len(self.images)]
        assert isinstance(tokens, ImageTokens)
        return tokens


def _positions(count: int, width: int) -> nn.Parameter:
    """Return learned positions, initially from N(0, 1).

    They are as large as what the tokens hold, because they are added once, not in each
    layer.
    """
    return nn.Parameter(torch.randn(1, count, width))


def _encoder(config: ActSpec, layers: int) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(
        config.hidden, config.heads, config.feedforward, config.dropout, batch_first=True
    )
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
