"""The transformer that predicts the noise in a sequence of actions.

Each action attends to those before it and to what was seen by then. Source: Chi et al.,
"Diffusion Policy" (RSS 2023), section III-A: the time-series diffusion transformer,
after minGPT.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from altbench_policies.diffusion.unet import sinusoids, step_frequencies

DEVIATION = 0.02
"""Standard deviation of the initial weights, as in minGPT."""


class DiffusionTransformer(nn.Module):
    """A decoder of noisy actions.

    Its memory is the diffusion step and the observations. Noisy actions (B, Tp, Da),
    diffusion steps (B,) and observations (B, To, F) -> predicted noise (B, Tp, Da).
    Tokens are `hidden` long. Action t attends to the diffusion step, the observations
    up to the t-th, and the actions up to itself.
    """

    frequencies: Tensor
    later: Tensor
    unseen: Tensor

    def __init__(
        self, actions: int, seen: int, horizons: tuple[int, int], hidden: int, layers: int, heads: int, dropout: float
    ) -> None:
        """Build the layers. `seen`: F. `horizons`: To and Tp."""
        super().__init__()
        observed, predicted = horizons
        self.action, self.observation = nn.Linear(actions, hidden), nn.Linear(seen, hidden)
        self.positions = nn.Parameter(torch.zeros(1, predicted, hidden))
        self.places = nn.Parameter(torch.zeros(1, 1 + observed, hidden))
        self.condition = nn.Sequential(nn.Linear(hidden, 4 * hidden), nn.Mish(), nn.Linear(4 * hidden, hidden))
        layer = nn.TransformerDecoderLayer(
            hidden, heads, 4 * hidden, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.decoder = nn.TransformerDecoder(layer, layers, nn.LayerNorm(hidden))
        self.out = nn.Linear(hidden, actions)
        self.apply(_initialise)
        for parameter in (self.positions, self.places):
            nn.init.normal_(parameter, std=DEVIATION)
        action, memory = torch.arange(predicted), torch.arange(1 + observed) - 1
        # Memory begins with the diffusion step, which every action attends to.
        self.register_buffer("frequencies", step_frequencies(hidden), persistent=False)
        self.register_buffer("later", action > action[:, None], persistent=False)
        self.register_buffer("unseen", memory > action[:, None], persistent=False)

    def forward(self, noisy: Tensor, steps: Tensor, seen: Tensor) -> Tensor:
        """Return float32 (B, Tp, Da)."""
        step = sinusoids(steps, self.frequencies)[:, None]
        memory = self.condition(torch.cat([step, self.observation(seen)], dim=1) + self.places)
        tokens = self.action(noisy) + self.positions
        decoded = self.decoder(tokens, memory, tgt_mask=self.later, memory_mask=self.unseen)
        noise: Tensor = self.out(decoded).float()
        return noise


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.MultiheadAttention):
        nn.init.normal_(module.in_proj_weight, std=DEVIATION)
        nn.init.zeros_(module.in_proj_bias)
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=DEVIATION)
        nn.init.zeros_(module.bias)
