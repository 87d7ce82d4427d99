"""Recurrent behaviour cloning: an LSTM over steps, and a mixture for each action.

The LSTM reads encoded observations; the mixture is of Gaussians.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from altbench.api import TaskInfo
from altbench_policies import input_checks
from altbench_policies.bc_rnn_gmm.config import PRESETS, RecurrentCloningSpec
from altbench_policies.chunk_policy import ChunkNetwork, ChunkPolicy, Example
from altbench_policies.frames import Frames, action_rows, draw_rows
from altbench_policies.mixture import MIXTURE_RUNTIME_FIELDS, Mixture, MixtureHead
from altbench_policies.observation import ObservationSampler, Seen

Memory = tuple[Tensor, Tensor]
"""An LSTM's hidden and cell state, float32 (layers, B, hidden) each."""


class RecurrentMixture(ChunkNetwork):
    """A network from sequences of observations to a mixture for each step's action."""

    def __init__(
        self, config: RecurrentCloningSpec, cameras: Sequence[str], task: TaskInfo, image_size: tuple[int, int]
    ) -> None:
        super().__init__(config, cameras, task, image_size)
        width = config.rnn_hidden
        self.rnn = nn.LSTM(self.observation.dimension, width, config.rnn_layers, batch_first=True)
        self.head = MixtureHead(config, width, 1, task.action_dim(config.control_mode))

    def forward(self, seen: Seen, steps: int, memory: Memory | None = None) -> tuple[Mixture, Memory]:
        """Return mixtures (B, T), and the memory afterwards.

        `seen`: B sequences of T `steps`, as B·T observations. `memory`: the state to
        continue from (None: the sequences begin).
        """
        features = self.observation(seen).view(-1, steps, self.observation.dimension)
        outputs, memory = self._recur(features, memory)
        mixture: Mixture = self.head(outputs)
        return Mixture(*(t.squeeze(2) for t in (mixture.logits, mixture.means, mixture.stds))), memory

    def _recur(self, features: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
        """Return the LSTM's outputs (B, T, hidden), and the memory afterwards."""
        device = features.device.type
        try:
            outputs, memory = self.rnn(features, memory)
        except RuntimeError:
            if not torch.is_autocast_enabled(device):
                raise
            # oneDNN has no bfloat16 LSTM for processors without AVX-512.
            with torch.autocast(device, enabled=False):
                outputs, memory = self.rnn(features.float(), memory)
        return outputs, memory


class SequenceObjective:
    """Mean negative log-likelihood of the demonstrated actions of sequences.

    Past an episode's end its last frame is repeated.
    """

    def __init__(self, network: RecurrentMixture, config: RecurrentCloningSpec, frames: Frames) -> None:
        self.network, self.config, self.total = network, config, len(frames)
        self.rows = action_rows(frames, config.sequence)
        self.observations = ObservationSampler(network.observation, frames, self.rows)
        self.actions = network.action_range.normalize(frames.actions)

    def sample(self, generator: torch.Generator) -> Example:
        """Draw sequences that begin at different frames.

        The observations are one after the other; the actions are (B, T, Da).
        """
        rows = draw_rows(self.total, self.config.batch_size, generator)
        seen = self.observations.sample(rows, generator)
        actions = self.actions[self.rows[rows].to(self.actions.device)]
        return Example(Seen(seen.images, seen.pose.flatten(0, 1)[:, None]), actions)

    def loss(self, batch: Example) -> Tensor:
        """Return the mean over sequences and steps."""
        mixture, _ = self.network(batch.seen, self.config.sequence)
        loss: Tensor = -mixture.log_prob(batch.chunk).mean()
        return loss


@dataclass
class Episode:
    """What a slot keeps.

    `generator`: for its draws. `decisions`: their number since it began. `memory`: the
    LSTM's, (layers, hidden) twice.
    """

    generator: torch.Generator
    decisions: int
    memory: Memory


class RecurrentCloning(ChunkPolicy[RecurrentCloningSpec, RecurrentMixture]):
    """Recurrent behaviour cloning (robomimic's BC-RNN-GMM), one action per decision.

    A slot's memory is cleared every `sequence` decisions, because training has no
    longer sequences.
    """

    name: ClassVar[str] = "bc_rnn_gmm"
    version: ClassVar[int] = 2
    presets = PRESETS
    renamed_presets: ClassVar = {"published_size": "paper"}
    runtime_fields = ChunkPolicy.runtime_fields | MIXTURE_RUNTIME_FIELDS

    def __init__(self, task: TaskInfo, config: RecurrentCloningSpec) -> None:
        super().__init__(task, config)
        self._episodes: dict[int, Episode] = {}

    @property
    def frames_per_sample(self) -> int:
        """The length of a sequence."""
        return self.config.sequence

    def make_network(self, image_size: tuple[int, int]) -> RecurrentMixture:
        """Make the encoder, the LSTM and the mixture head."""
        return RecurrentMixture(self.config, self.cameras, self.task, image_size)

    def make_objective(self, network: RecurrentMixture, frames: Frames) -> SequenceObjective:
        """Make the likelihood of the actions of sequences."""
        return SequenceObjective(network, self.config, frames)

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Seed each slot's draws, and clear its memory."""
        for slot, seed in zip(slots, seeds, strict=True):
            self._episodes[slot] = Episode(torch.Generator().manual_seed(seed), 0, self._empty())

    def decide(self, network: RecurrentMixture, seen: Seen, slots: Sequence[int]) -> Tensor:
        """Return the drawn action (B, 1, Da); advance the slots' memories by a step."""
        input_checks.check_begun(slots, self._episodes)
        episodes = [self._episodes[slot] for slot in slots]
        for episode in episodes:
            if episode.decisions % self.config.sequence == 0:
                episode.memory = self._empty()
        device = seen.pose.device
        before = tuple(torch.stack([e.memory[i].to(device) for e in episodes], dim=1) for i in (0, 1))
        mixture, after = network(seen, 1, before)
        for b, episode in enumerate(episodes):
            episode.memory, episode.decisions = (after[0][:, b], after[1][:, b]), episode.decisions + 1
        drawn: Tensor = mixture.draw([e.generator for e in episodes], self.config.evaluation_std)
        return drawn

    def _empty(self) -> Memory:
        shape = self.config.rnn_layers, self.config.rnn_hidden
        return torch.zeros(shape), torch.zeros(shape)
