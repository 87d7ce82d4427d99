"""The base of policies whose network turns To observations into a chunk of actions.

It fits, saves and loads the network, and acts with it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from altbench.api import Decision, Demonstration, FitContext, Footprint, Observation, Requirements, TaskInfo, Trainable
from altbench_policies import checkpoint, input_checks
from altbench_policies.control import ControlSpec
from altbench_policies.frames import Frames, action_rows, draw_rows, join
from altbench_policies.normalize import MinMax
from altbench_policies.observation import (
    ObservationEncoder,
    ObservationInput,
    ObservationSampler,
    ObservationSpec,
    Seen,
)
from altbench_policies.resume import training_digest
from altbench_policies.training import Objective, TrainingSpec, train
from altbench_policies.vision import count_bytes, seeded_network


class ChunkSpec(ControlSpec, ObservationSpec, TrainingSpec):
    """Config of a chunk policy; see also ControlSpec.

    `pred_horizon`: Tp, the actions that are predicted. `action_horizon`: Ta, those of
    them that are executed.
    """

    pred_horizon: int = Field(default=16, ge=1)
    action_horizon: int = Field(default=8, ge=1)

    @property
    def past(self) -> int:
        """The number of steps before the present frame; they are never executed."""
        return 0

    @model_validator(mode="after")
    def _chunk_is_long_enough(self) -> Self:
        if self.past + self.action_horizon > self.pred_horizon:
            before = f" − {self.past} (steps before the present frame)" if self.past else ""
            raise ValueError(f"action_horizon {self.action_horizon} exceeds pred_horizon {self.pred_horizon}{before}")
        return self


Config = TypeVar("Config", bound=ChunkSpec)


class RangedNetwork(nn.Module):
    """Base of all networks: what they see, and the range of the actions.

    `numbers`: the length of an action, Da.
    """

    def __init__(self, numbers: int, observation: ObservationInput) -> None:
        super().__init__()
        self.action_range = MinMax(numbers)
        self.observation = observation

    def fit_ranges(self, frames: Frames) -> None:
        """Take the ranges of pose and actions from the training set."""
        self.observation.pose_range.fit(frames.agent_pos)
        self.action_range.fit(frames.actions)


class ChunkNetwork(RangedNetwork):
    """Base of the networks that condition on the observation as one vector."""

    observation: ObservationEncoder

    def __init__(self, config: ChunkSpec, cameras: Sequence[str], task: TaskInfo, image_size: tuple[int, int]) -> None:
        encoder = ObservationEncoder(config, cameras, task.agent_pos_dim, image_size)
        super().__init__(task.action_dim(config.control_mode), encoder)


Network = TypeVar("Network", bound=RangedNetwork)


@dataclass(frozen=True)
class Example:
    """A batch: what is seen, and the normalised demonstrated chunk (B, Tp, Da)."""

    seen: Seen
    chunk: Tensor


class ChunkSampler:
    """Augmented observations, each with its demonstrated chunk."""

    def __init__(self, network: RangedNetwork, config: ChunkSpec, frames: Frames) -> None:
        self.batch_size, self.total = config.batch_size, len(frames)
        self.observations = ObservationSampler(network.observation, frames)
        self.actions = network.action_range.normalize(frames.actions)
        self.rows = action_rows(frames, config.pred_horizon, config.past)

    def sample(self, generator: torch.Generator) -> Example:
        """Draw a batch of different frames."""
        rows = draw_rows(self.total, self.batch_size, generator)
        chunk = self.actions[self.rows[rows].to(self.actions.device)]
        return Example(self.observations.sample(rows, generator), chunk)


LEAST_EPOCHS = 100.0
"""Passes over the frames without which a network that predicts actions counts as not converged."""


class ChunkPolicy(Trainable[Config], Generic[Config, Network]):
    """Base of the chunk policies: all but the network, its objective and its decisions."""

    runtime_fields: ClassVar[frozenset[str]] = frozenset({"checkpoint_seconds"})
    least_epochs: ClassVar[float] = LEAST_EPOCHS

    def __init__(self, task: TaskInfo, config: Config) -> None:
        super().__init__(task, config)
        self.cameras = config.cameras or task.cameras
        self.network: Network | None = None

    @abstractmethod
    def make_network(self, image_size: tuple[int, int]) -> Network:
        """Make a network with fresh weights for images of `image_size` (H, W)."""

    @abstractmethod
    def make_objective(self, network: Network, frames: Frames) -> Objective[Any]:
        """Make what `network` is to minimise over `frames`."""

    @abstractmethod
    def decide(self, network: Network, seen: Seen, slots: Sequence[int]) -> Tensor:
        """Return normalised actions to execute, float32 (B, Ta, Da)."""

    @property
    def frames_per_sample(self) -> int:
        """The number of observations in one sample of a training batch."""
        return self.config.obs_horizon

    @property
    def requirements(self) -> Requirements:
        """Images of its cameras over To frames; once fitted, of the fitted size."""
        horizons = self.config.obs_horizon, self.config.pred_horizon, self.config.action_horizon
        size = self.network.observation.image_size if self.network else None
        return Requirements(self.cameras, *horizons, self.config.control_mode, size)

    def fit(self, demonstrations: Sequence[Demonstration], context: FitContext) -> None:
        """Train a network on all frames of `demonstrations`."""
        frames = join(demonstrations, self.cameras, context.device, self.config.control_mode)
        network = seeded_network(lambda: self.make_network(frames.image_size), context.seed, context.device)
        network.fit_ranges(frames)
        config = self.config.model_dump(exclude=set(self.runtime_fields))
        train(
            network,
            self.make_objective(network, frames),
            self.config,
            context,
            frames=len(frames),
            images_per_step=min(self.config.batch_size, len(frames)) * self.frames_per_sample * len(self.cameras),
            digest=training_digest(self.name, self.version, config, frames.digest()),
        )
        self.network = network

    def save(self, folder: Path) -> None:
        """Write the network."""
        network = self.fitted()
        values = {"image_size": list(network.observation.image_size)}
        checkpoint.write(folder, checkpoint.Checkpoint(values, network.state_dict()))

    def load(self, folder: Path, device: str = "cpu") -> None:
        """Read what `save` wrote.

        Raises CheckpointError if it is damaged or of another config.
        """
        saved = checkpoint.read(folder)
        height, width = saved.value("image_size")
        network = seeded_network(lambda: self.make_network((height, width)), 0, device)
        saved.fill(network)
        self.network = network.eval()

    @torch.inference_mode()
    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        """Return chunks (B, Ta, Da) in the task's units."""
        network = self.fitted()
        chunk = self.decide(network, network.observation.observe(observation), slots)
        return Decision(checkpoint.numpy_of(network.action_range.restore(chunk).contiguous()))

    def footprint(self) -> Footprint:
        """Return the bytes of the network."""
        return Footprint(count_bytes(self.network)) if self.network else Footprint()

    def fitted(self) -> Network:
        """Return the network; raise CheckpointError before `fit` or `load`."""
        if self.network is None:
            raise input_checks.not_fitted(self.name)
        return self.network
