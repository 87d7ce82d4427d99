"""Behaviour cloning: the observation encoder and an MLP that regresses the next chunk of actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from altbench.api import Decision, Demonstration, FitContext, Footprint, Observation, Requirements, TaskInfo, Trainable
from altbench_policies import border, checkpoint
from altbench_policies.normalize import MinMax
from altbench_policies.observation import ObservationEncoder, ObservationSampler, ObservationSpec, Seen
from altbench_policies.resume import fingerprint
from altbench_policies.training import TrainingSpec, train
from altbench_policies.vision import count_bytes, seeded_network
from altbench_policies.windows import Frames, action_rows, draw_rows, join


class BehaviourCloningSpec(ObservationSpec, TrainingSpec):
    """Settings of bc; see also ObservationSpec, VisionSpec, AugmentSpec and TrainingSpec.

    The chunk regressed is the `pred_horizon` actions from the present frame on, of which `action_horizon` are executed.
    `distance`: "l1" or "l2" between normalised actions. `hidden`: widths of the MLP's hidden layers.
    """

    pred_horizon: int = Field(default=8, ge=1)
    action_horizon: int = Field(default=8, ge=1)
    distance: Literal["l1", "l2"] = "l1"
    hidden: tuple[int, ...] = (512, 512)

    shift: int = Field(default=4, ge=0)
    train_steps: int | None = Field(default=1500, ge=0)
    warmup_steps: int = Field(default=50, ge=0)


PRESETS: dict[str, dict[str, Any]] = {
    "small": {},
    "paper": {
        "encoder": "resnet18",
        "pooling": "spatial_softmax",
        "shift": 0,
        "crop": 76,
        "hidden": (1024, 1024),
        "pred_horizon": 16,
        "train_steps": 100_000,
        "learning_rate": 1e-4,
        "betas": (0.95, 0.999),
        "weight_decay": 1e-6,
        "warmup_steps": 500,
        "ema_power": 0.75,
    },
}


class ChunkRegressor(nn.Module):
    """Observation -> normalised chunk (B, Tp, Da)."""

    def __init__(
        self, settings: BehaviourCloningSpec, cameras: Sequence[str], task: TaskInfo, image_size: tuple[int, int]
    ) -> None:
        super().__init__()
        self.shape = (settings.pred_horizon, task.action_dim())
        self.action_range = MinMax(self.shape[1])
        self.observation = ObservationEncoder(settings, cameras, task.agent_pos_dim, image_size)
        layers: list[nn.Module] = []
        inputs = self.observation.dimension
        for width in settings.hidden:
            layers += [nn.Linear(inputs, width), nn.ReLU()]
            inputs = width
        self.head = nn.Sequential(*layers, nn.Linear(inputs, self.shape[0] * self.shape[1]))

    def forward(self, seen: Seen) -> Tensor:
        """-> float32 (B, Tp, Da)."""
        chunk: Tensor = self.head(self.observation(seen)).float()
        return chunk.view(-1, *self.shape)


@dataclass(frozen=True)
class Example:
    """A batch: what is seen, and the normalised chunks (B, Tp, Da) that follow."""

    seen: Seen
    chunk: Tensor


class RegressionObjective:
    """Mean L1 or L2 distance between predicted and demonstrated normalised chunks."""

    def __init__(self, network: ChunkRegressor, settings: BehaviourCloningSpec, frames: Frames) -> None:
        self.network, self.settings, self.total = network, settings, len(frames)
        self.sampler = ObservationSampler(network.observation, frames)
        self.actions = network.action_range.normalize(frames.actions)
        self.rows = action_rows(frames, settings.pred_horizon)

    def sample(self, generator: torch.Generator) -> Example:
        """A batch of different frames."""
        rows = draw_rows(self.total, self.settings.batch_size, generator)
        chunk = self.actions[self.rows[rows].to(self.actions.device)]
        return Example(self.sampler.sample(rows, generator), chunk)

    def loss(self, batch: Example) -> Tensor:
        """The mean distance."""
        distance = F.l1_loss if self.settings.distance == "l1" else F.mse_loss
        return distance(self.network(batch.seen), batch.chunk)


class BehaviourCloning(Trainable):
    """Deterministic chunks by regression: the baseline that neither looks up nor samples."""

    name: ClassVar[str] = "bc"
    version: ClassVar[int] = 1
    config_type: ClassVar[type[BehaviourCloningSpec]] = BehaviourCloningSpec
    presets = PRESETS
    runtime_fields = frozenset({"checkpoint_seconds"})

    def __init__(self, task: TaskInfo, config: BehaviourCloningSpec) -> None:
        super().__init__(task, config)
        self.settings = config
        self.cameras = config.cameras or task.cameras
        self.network: ChunkRegressor | None = None
        self._begun: set[int] = set()

    @property
    def requirements(self) -> Requirements:
        """Images of its cameras over To frames."""
        settings = self.settings
        size = self.network.observation.image_size if self.network else None
        horizons = settings.obs_horizon, settings.pred_horizon, settings.action_horizon
        return Requirements(self.cameras, *horizons, image_size=size)

    def fit(self, demonstrations: Sequence[Demonstration], context: FitContext) -> None:
        """Regress the demonstrations' chunks."""
        frames = join(demonstrations, self.cameras, context.device)
        network = self._build(frames.image_size, context.seed, context.device)
        network.observation.pose_range.fit(frames.agent_pos)
        network.action_range.fit(frames.actions)
        batch = min(self.settings.batch_size, len(frames))
        settings = self.settings.model_dump(exclude=set(self.runtime_fields))
        train(
            network,
            RegressionObjective(network, self.settings, frames),
            self.settings,
            context,
            frames=len(frames),
            images_per_step=batch * self.settings.obs_horizon * len(self.cameras),
            fingerprint=fingerprint(self.name, self.version, settings, frames.digest()),
        )
        self.network = network

    def save(self, folder: Path) -> None:
        """Write the network."""
        network = self._fitted()
        values = {"image_size": list(network.observation.image_size)}
        checkpoint.write(folder, checkpoint.Checkpoint(values, network.state_dict()))

    def load(self, folder: Path, device: str = "cpu") -> None:
        """Read what `save` wrote; CheckpointError where it is damaged or of other settings."""
        saved = checkpoint.read(folder)
        height, width = saved.value("image_size")
        network = self._build((height, width), 0, device)
        saved.fill(network)
        self.network = network.eval()

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Nothing is kept between decisions."""
        del seeds
        self._begun.update(slots)

    @torch.inference_mode()
    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        """Chunks (B, Ta, Da) in the task's units."""
        network = self._fitted()
        border.check_begun(slots, self._begun)
        chunk = network.action_range.restore(network(network.observation.observe(observation)))
        return Decision(checkpoint.numpy_of(chunk[:, : self.settings.action_horizon].contiguous()))

    def footprint(self) -> Footprint:
        """Bytes of the network."""
        return Footprint(count_bytes(self.network)) if self.network else Footprint()

    def _build(self, image_size: tuple[int, int], seed: int, device: str) -> ChunkRegressor:
        return seeded_network(lambda: ChunkRegressor(self.settings, self.cameras, self.task, image_size), seed, device)

    def _fitted(self) -> ChunkRegressor:
        border.check_fitted(self.network is not None, self.name)
        assert self.network is not None
        return self.network
