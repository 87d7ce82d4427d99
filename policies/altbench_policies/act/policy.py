"""ACT: action chunking with transformers, its objective, and its temporal ensemble."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from altbench.api import TaskInfo
from altbench_policies import input_checks
from altbench_policies.act.config import PRESETS, RUNTIME_FIELDS, ActSpec
from altbench_policies.act.network import ActNetwork, Style
from altbench_policies.chunk_policy import ChunkPolicy, Example
from altbench_policies.frames import Frames, action_rows, draw_rows
from altbench_policies.observation import ObservationSampler, Seen

PUBLISHED_CHUNK = 100
"""Actions of a chunk of the published ACT."""


@dataclass(frozen=True)
class ActExample(Example):
    """An example with the noise (B, Dz) of its style, and `padded` bool (B, Tp)."""

    noise: Tensor
    padded: Tensor


class ActObjective:
    """Mean L1 distance of the chunk, and the style's divergence from a standard normal.

    Source: Zhao et al. 2023, algorithm 1.
    """

    def __init__(self, network: ActNetwork, config: ActSpec, frames: Frames) -> None:
        self.network, self.config, self.total = network, config, len(frames)
        self.observations = ObservationSampler(network.observation, frames)
        self.actions = network.action_range.normalize(frames.actions)
        self.rows = action_rows(frames, config.pred_horizon)
        steps = torch.arange(self.total)[:, None] + torch.arange(config.pred_horizon)
        self.padded = steps > frames.last[:, None]

    def sample(self, generator: torch.Generator) -> ActExample:
        """Draw a batch of different frames."""
        rows, device = draw_rows(self.total, self.config.batch_size, generator), self.actions.device
        noise = torch.randn(len(rows), self.config.latent, generator=generator).to(device)
        # This draw is not used. Without it the next ones would differ from published runs.
        torch.randint(2**62, (), generator=generator)
        seen = self.observations.sample(rows, generator)
        return ActExample(seen, self.actions[self.rows[rows].to(device)], noise, self.padded[rows].to(device))

    def loss(self, batch: ActExample) -> Tensor:
        """Return distance and weighted divergence."""
        masked = self.config.mask_padding
        style: Style = self.network.style(batch.seen.pose[:, -1], batch.chunk, batch.padded if masked else None)
        chunk = self.network(batch.seen, style.sample(batch.noise))
        distance = (chunk - batch.chunk).abs()
        if masked:
            distance = distance[~batch.padded]
        total: Tensor = distance.mean() + self.config.kl_weight * style.divergence().mean()
        return total


class Act(ChunkPolicy[ActSpec, ActNetwork]):
    """Action chunking with transformers.

    A CVAE of chunks that acts with the style z = 0. Source: Zhao et al. 2023.
    """

    name: ClassVar[str] = "act"
    version: ClassVar[int] = 1
    presets = PRESETS
    renamed_presets: ClassVar = {"published_size": "paper"}
    runtime_fields = RUNTIME_FIELDS

    def __init__(self, task: TaskInfo, config: ActSpec) -> None:
        super().__init__(task, config)
        self._past: dict[int, deque[Tensor]] = {}

    @classmethod
    def caveat(cls, settings: Mapping[str, Any]) -> str:
        """Return how far a row is from the published ACT in what it sees and predicts."""
        chunk = settings.get("pred_horizon", PUBLISHED_CHUNK)
        differences = [] if settings.get("pose", True) else ["sees no pose of the arm"]
        differences += [f"predicts chunks of {chunk} ({PUBLISHED_CHUNK} there)"] if chunk != PUBLISHED_CHUNK else []
        return f"not the published ACT, it {' and '.join(differences)}" if differences else ""

    def make_network(self, image_size: tuple[int, int]) -> ActNetwork:
        """Make the autoencoder."""
        return ActNetwork(self.config, self.cameras, self.task, image_size)

    def make_objective(self, network: ActNetwork, frames: Frames) -> ActObjective:
        """Make the reconstruction of the next Tp actions."""
        return ActObjective(network, self.config, frames)

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Forget the slots' chunks; nothing here is random."""
        del seeds
        self._past |= {slot: deque(maxlen=self.config.pred_horizon) for slot in slots}

    def inference_note(self) -> str:
        """Return whether chunks are averaged."""
        return "temporal ensemble" if self.config.temporal_ensemble else ""

    def decide(self, network: ActNetwork, seen: Seen, slots: Sequence[int]) -> Tensor:
        """Return the first Ta actions of the chunk, or the ensemble's one."""
        input_checks.check_begun(slots, self._past)
        chunks: Tensor = network(seen)
        if not self.config.temporal_ensemble:
            return chunks[:, : self.config.action_horizon]
        for slot, chunk in zip(slots, chunks, strict=True):
            self._past[slot].append(chunk)
        return torch.stack([ensemble(self._past[slot], self.config.ensemble_rate) for slot in slots])[:, None]


def ensemble(chunks: Sequence[Tensor], rate: float) -> Tensor:
    """Return the weighted mean of what `chunks` predict for the present action, (Da,).

    `chunks`: each (Tp, Da), decided one step apart, oldest first. The i-th weighs
    exp(−rate·i). Source: Zhao et al. 2023, section IV-A.
    """
    says = torch.stack([chunk[age] for age, chunk in zip(range(len(chunks) - 1, -1, -1), chunks, strict=True)])
    weights = torch.exp(-rate * torch.arange(len(chunks), device=says.device))
    return (weights / weights.sum()) @ says
