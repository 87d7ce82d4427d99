"""Mixtures of Gaussians over actions: a network's head, log-likelihood, and draws.

Source: robomimic's GMM policies (Mandlekar et al. 2021, "What Matters in Learning from
Offline Human Demonstrations for Robot Manipulation", appendix on BC and BC-RNN). Means
pass through tanh, standard deviations through softplus above a floor. Acting draws with
a small fixed standard deviation instead of the learned ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from altbench.api import Spec

MIXTURE_RUNTIME_FIELDS = frozenset({"evaluation_std"})


class MixtureSpec(Spec):
    """Config of a mixture over normalised actions.

    `modes`: Gaussians per mixture. `min_std`: floor of the learned standard deviations.
    `evaluation_std`: standard deviation of the actions that are drawn in acting (None:
    the learned ones); the fit does not depend on it.
    """

    modes: int = Field(default=5, ge=1)
    min_std: float = Field(default=1e-4, gt=0)
    evaluation_std: float | None = Field(default=1e-4, ge=0)


@dataclass(frozen=True)
class Mixture:
    """Mixtures of M diagonal Gaussians over D numbers, float32.

    `logits`: (..., M). `means` and `stds`: (..., M, D).
    """

    logits: Tensor
    means: Tensor
    stds: Tensor

    def log_prob(self, values: Tensor) -> Tensor:
        """Return the natural logarithm of the density at `values` (..., D): (...)."""
        distance = (values.unsqueeze(-2) - self.means) / self.stds
        gaussians = -0.5 * (distance.square() + math.log(2 * math.pi)) - self.stds.log()
        return (self.logits.log_softmax(-1) + gaussians.sum(-1)).logsumexp(-1)

    def draw(self, generators: Sequence[torch.Generator], std: float | None) -> Tensor:
        """Draw once from each mixture: (B, ..., D).

        `std` replaces the learned standard deviations (None: it does not). Row b is
        drawn from `generators[b]` alone, so that batch mates do not matter.
        """
        shape, device = self.means.shape[1:-2], self.means.device
        picks = torch.stack([torch.rand(shape, generator=g) for g in generators]).to(device)
        noise = torch.stack([torch.randn(*shape, self.means.shape[-1], generator=g) for g in generators]).to(device)
        below = self.logits.softmax(-1).cumsum(-1) <= picks.unsqueeze(-1)
        mode = below.sum(-1).clamp(max=self.logits.shape[-1] - 1)
        where = mode[..., None, None].expand(*mode.shape, 1, noise.shape[-1])
        means, stds = (t.gather(-2, where).squeeze(-2) for t in (self.means, self.stds))
        return means + noise * (stds if std is None else std)


class MixtureHead(nn.Module):
    """A linear layer: features -> `count` mixtures over `dimension` numbers each.

    It computes in fp32 always. A mixture's standard deviations go down to 1e-4, and
    bf16 would round its means by more.
    """

    def __init__(self, config: MixtureSpec, inputs: int, count: int, dimension: int) -> None:
        super().__init__()
        self.min_std, self.shape = config.min_std, (count, config.modes, 1 + 2 * dimension)
        self.linear = nn.Linear(inputs, math.prod(self.shape))

    def forward(self, features: Tensor) -> Mixture:
        """Return mixtures (..., count) for features (..., inputs)."""
        with torch.autocast(features.device.type, enabled=False):
            numbers = self.linear(features.float()).unflatten(-1, self.shape)
        dimension = (self.shape[-1] - 1) // 2
        logits, means, stds = numbers.split([1, dimension, dimension], dim=-1)
        return Mixture(logits.squeeze(-1), means.tanh(), F.softplus(stds) + self.min_std)
