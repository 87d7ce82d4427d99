"""Behaviour cloning: an MLP regresses the next chunk from the encoded observation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from altbench.api import TaskInfo
from altbench_policies import input_checks
from altbench_policies.bc.config import PRESETS, BehaviourCloningSpec
from altbench_policies.chunk_policy import ChunkNetwork, ChunkPolicy, ChunkSampler, Example
from altbench_policies.frames import Frames
from altbench_policies.mlp import hidden_layers
from altbench_policies.observation import Seen


class ChunkRegressor(ChunkNetwork):
    """A network from the observation to a normalised chunk."""

    def __init__(
        self, config: BehaviourCloningSpec, cameras: Sequence[str], task: TaskInfo, image_size: tuple[int, int]
    ) -> None:
        super().__init__(config, cameras, task, image_size)
        self.shape = (config.pred_horizon, task.action_dim(config.control_mode))
        layers, width = hidden_layers(self.observation.dimension, config.hidden)
        self.head = layers.append(nn.Linear(width, self.shape[0] * self.shape[1]))

    def forward(self, seen: Seen) -> Tensor:
        """Return float32 (B, Tp, Da), from the present frame on."""
        return self.look(seen)[1]

    def look(self, seen: Seen) -> tuple[Tensor, Tensor]:
        """Return what the last layer sees, float32 (B, F), and the chunk (B, Tp, Da)."""
        features: Tensor = self.head[:-1](self.observation(seen))
        chunk: Tensor = self.head[-1](features).float()
        return features.float(), chunk.view(-1, *self.shape)


class RegressionObjective:
    """Mean L1 or L2 distance between predicted and demonstrated normalised chunks."""

    def __init__(self, network: ChunkRegressor, config: BehaviourCloningSpec, frames: Frames) -> None:
        self.network, self.sampler = network, ChunkSampler(network, config, frames)
        self.distance = F.l1_loss if config.distance == "l1" else F.mse_loss

    def sample(self, generator: torch.Generator) -> Example:
        """Draw a batch of different frames."""
        return self.sampler.sample(generator)

    def loss(self, batch: Example) -> Tensor:
        """Return the mean distance."""
        return self.distance(self.network(batch.seen), batch.chunk)


class BehaviourCloning(ChunkPolicy[BehaviourCloningSpec, ChunkRegressor]):
    """Deterministic chunks by regression.

    The baseline that neither looks up nor samples.
    """

    name: ClassVar[str] = "bc"
    version: ClassVar[int] = 1
    presets = PRESETS
    renamed_presets: ClassVar = {"published_size": "paper"}

    def __init__(self, task: TaskInfo, config: BehaviourCloningSpec) -> None:
        super().__init__(task, config)
        self._begun: set[int] = set()

    def make_network(self, image_size: tuple[int, int]) -> ChunkRegressor:
        """Make the encoder with an MLP head."""
        return ChunkRegressor(self.config, self.cameras, self.task, image_size)

    def make_objective(self, network: ChunkRegressor, frames: Frames) -> RegressionObjective:
        """Make the regression of the next Tp actions."""
        return RegressionObjective(network, self.config, frames)

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Begin the slots; nothing is random, and nothing is kept between decisions."""
        del seeds
        self._begun.update(slots)

    def decide(self, network: ChunkRegressor, seen: Seen, slots: Sequence[int]) -> Tensor:
        """Return the first Ta of the regressed actions."""
        input_checks.check_begun(slots, self._begun)
        chunk: Tensor = network(seen)
        return chunk[:, : self.config.action_horizon]
