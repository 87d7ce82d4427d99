"""Behaviour cloning with a mixture of Gaussians for each action.

The observation encoder and an MLP predict the mixtures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from altbench.api import TaskInfo
from altbench_policies import input_checks
from altbench_policies.bc_gmm.config import PRESETS, MixtureCloningSpec
from altbench_policies.chunk_policy import ChunkNetwork, ChunkPolicy, ChunkSampler, Example
from altbench_policies.frames import Frames
from altbench_policies.mixture import MIXTURE_RUNTIME_FIELDS, Mixture, MixtureHead
from altbench_policies.mlp import hidden_layers
from altbench_policies.observation import Seen


class ChunkMixture(ChunkNetwork):
    """A network from the observation to mixtures over normalised actions."""

    def __init__(
        self, config: MixtureCloningSpec, cameras: Sequence[str], task: TaskInfo, image_size: tuple[int, int]
    ) -> None:
        super().__init__(config, cameras, task, image_size)
        steps, numbers = config.pred_horizon, task.action_dim(config.control_mode)
        self.shape = (steps, numbers) if config.mixture == "step" else (1, steps * numbers)
        self.mlp, width = hidden_layers(self.observation.dimension, config.hidden)
        self.head = MixtureHead(config, width, *self.shape)

    def forward(self, seen: Seen) -> Mixture:
        """Return mixtures (B, Tp) over Da numbers, or (B, 1) over Tp·Da.

        They are of the actions from the present frame on.
        """
        mixture: Mixture = self.head(self.mlp(self.observation(seen)))
        return mixture


class LikelihoodObjective:
    """Mean negative log-likelihood of the demonstrated normalised chunks."""

    def __init__(self, network: ChunkMixture, config: MixtureCloningSpec, frames: Frames) -> None:
        self.network, self.sampler = network, ChunkSampler(network, config, frames)

    def sample(self, generator: torch.Generator) -> Example:
        """Draw a batch of different frames."""
        return self.sampler.sample(generator)

    def loss(self, batch: Example) -> Tensor:
        """Return the mean over chunks and mixtures."""
        mixture: Mixture = self.network(batch.seen)
        return -mixture.log_prob(batch.chunk.view(-1, *self.network.shape)).mean()


class MixtureCloning(ChunkPolicy[MixtureCloningSpec, ChunkMixture]):
    """Behaviour cloning with a mixture of Gaussians per action (robomimic's BC-GMM).

    It draws with little noise. Each slot draws from its own generator, so batch mates
    do not matter.
    """

    name: ClassVar[str] = "bc_gmm"
    version: ClassVar[int] = 1
    presets = PRESETS
    renamed_presets: ClassVar = {"published_size": "paper"}
    runtime_fields = ChunkPolicy.runtime_fields | MIXTURE_RUNTIME_FIELDS

    def __init__(self, task: TaskInfo, config: MixtureCloningSpec) -> None:
        super().__init__(task, config)
        self._generators: dict[int, torch.Generator] = {}

    def make_network(self, image_size: tuple[int, int]) -> ChunkMixture:
        """Make the encoder, an MLP and the mixture head."""
        return ChunkMixture(self.config, self.cameras, self.task, image_size)

    def make_objective(self, network: ChunkMixture, frames: Frames) -> LikelihoodObjective:
        """Make the likelihood of the next Tp actions."""
        return LikelihoodObjective(network, self.config, frames)

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Seed each slot's draws; each decision draws anew."""
        for slot, seed in zip(slots, seeds, strict=True):
            self._generators[slot] = torch.Generator().manual_seed(seed)

    def decide(self, network: ChunkMixture, seen: Seen, slots: Sequence[int]) -> Tensor:
        """Return the first Ta of the drawn actions."""
        input_checks.check_begun(slots, self._generators)
        mixture: Mixture = network(seen)
        drawn = mixture.draw([self._generators[slot] for slot in slots], self.config.evaluation_std)
        chunk = drawn.view(len(slots), self.config.pred_horizon, -1)
        return chunk[:, : self.config.action_horizon]
