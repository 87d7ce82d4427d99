"""The one-dimensional U-Net that predicts the noise in a sequence of actions.

FiLM conditions it. Source: Chi et al., "Diffusion Policy" (RSS 2023), after Janner et
al. (2022); FiLM: Perez et al. (2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class ConvBlock(nn.Sequential):
    """Convolution, GroupNorm, Mish: (B, inputs, T) -> (B, outputs, T)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int) -> None:
        super().__init__(
            nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2), nn.GroupNorm(groups, outputs), nn.Mish()
        )


class FilmBlock(nn.Module):
    """Two convolution blocks with a shortcut.

    The condition scales and shifts the channels between them.
    """

    def __init__(self, inputs: int, outputs: int, condition: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.first = ConvBlock(inputs, outputs, kernel, groups)
        self.second = ConvBlock(outputs, outputs, kernel, groups)
        self.film = nn.Linear(condition, 2 * outputs)
        self.shortcut = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return (B, outputs, T).

        `x`: (B, inputs, T). `condition`: (B, condition), after its activation.
        """
        scale, shift = self.film(condition)[..., None].chunk(2, dim=1)
        hidden = torch.addcmul(shift, self.first(x), scale)
        return torch.add(self.second(hidden), self.shortcut(x))


def step_frequencies(features: int) -> Tensor:
    """Return float32 (features / 2,), from 1 down to 1e-4, evenly in the logarithm.

    Source: Vaswani et al. 2017, section 3.5.
    """
    half = features // 2
    return torch.exp(torch.arange(half) * (-math.log(10_000) / (half - 1)))


def sinusoids(steps: Tensor, frequencies: Tensor) -> Tensor:
    """Embed diffusion steps int (B,) as float32 (B, features).

    All sines come first, then all cosines.
    """
    angles = steps[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class StepEmbedding(nn.Module):
    """Sinusoids of the diffusion step, then an MLP: int (B,) -> (B, features)."""

    frequencies: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", step_frequencies(features), persistent=False)
        self.mlp = nn.Sequential(nn.Linear(features, 4 * features), nn.Mish(), nn.Linear(4 * features, features))

    def forward(self, steps: Tensor) -> Tensor:
        """Embed diffusion steps (B,) as (B, features)."""
        embedded: Tensor = self.mlp(sinusoids(steps, self.frequencies))
        return embedded


class UNet(nn.Module):
    """A U-Net over the steps of a chunk.

    Noisy actions (B, Tp, Da), diffusion steps (B,) and condition (B, F) -> predicted
    noise (B, Tp, Da). Each level has two FiLM blocks, and each but the last halves the
    sequence. Two more blocks are in the middle. On the way up, each level also reads
    what the same level gave on the way down.
    """

    def __init__(
        self,
        actions: int,
        condition: int,
        widths: Sequence[int],
        kernel: int = 5,
        groups: int = 8,
        step_features: int = 128,
    ) -> None:
        super().__init__()
        self.step = StepEmbedding(step_features)
        self.activation = nn.Mish()
        total = condition + step_features

        def pair(inputs: int, outputs: int) -> nn.ModuleList:
            blocks = [FilmBlock(i, outputs, total, kernel, groups) for i in (inputs, outputs)]
            return nn.ModuleList(blocks)

        inputs = [actions, *widths[:-1]]
        self.down = nn.ModuleList(pair(i, o) for i, o in zip(inputs, widths, strict=True))
        self.shrink = nn.ModuleList(nn.Conv1d(w, w, 3, stride=2, padding=1) for w in widths[:-1])
        self.middle = pair(widths[-1], widths[-1])
        above = list(pairwise(widths))[::-1]
        self.up = nn.ModuleList(pair(2 * lower, upper) for upper, lower in above)
        self.grow = nn.ModuleList(nn.ConvTranspose1d(w, w, 4, stride=2, padding=1) for w, _ in above)
        self.out = nn.Sequential(ConvBlock(widths[0], widths[0], kernel, groups), nn.Conv1d(widths[0], actions, 1))

    def forward(self, noisy: Tensor, steps: Tensor, condition: Tensor) -> Tensor:
        """Return float32 (B, Tp, Da)."""
        film = self.activation(torch.cat([self.step(steps), condition], dim=1))
        x = noisy.transpose(1, 2)
        skips = []
        for level, blocks in enumerate(self.down):
            x = _through(blocks, x, film)
            skips.append(x)
            x = self.shrink[level](x) if level < len(self.shrink) else x
        x = _through(self.middle, x, film)
        for blocks, grow in zip(self.up, self.grow, strict=True):
            x = grow(_through(blocks, torch.cat([x, skips.pop()], dim=1), film))
        noise: Tensor = self.out(x).float()
        return noise.transpose(1, 2)


def _through(blocks: nn.Module, x: Tensor, film: Tensor) -> Tensor:
    for block in blocks.children():
        x = block(x, film)
    return x
