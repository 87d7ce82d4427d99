"""Diffusion policy: a chunk of actions is denoised from noise, given what is seen.

Source: Chi et al., "Diffusion Policy" (RSS 2023), on images, with the CNN or the
transformer. The schedulers are diffusers'.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from altbench.api import TaskInfo
from altbench_policies import input_checks
from altbench_policies.chunk_policy import ChunkNetwork, ChunkPolicy, ChunkSampler, Example
from altbench_policies.diffusion.config import PRESETS, RUNTIME_FIELDS, DiffusionSpec
from altbench_policies.diffusion.transformer import DiffusionTransformer
from altbench_policies.diffusion.unet import UNet
from altbench_policies.frames import Frames
from altbench_policies.observation import Seen


class Denoiser(ChunkNetwork, ABC):
    """Base of the denoisers: an observation encoder, and a backbone that it conditions."""

    @abstractmethod
    def condition(self, seen: Seen) -> Tensor:
        """Return what the backbone is conditioned on, a row for each observation."""

    @abstractmethod
    def forward(self, noisy: Tensor, steps: Tensor, condition: Tensor) -> Tensor:
        """Return the predicted noise, float32 (B, Tp, Da).

        `noisy`: chunks (B, Tp, Da). `steps`: diffusion steps (B,). `condition`: from
        the method of this name.
        """


class UNetDenoiser(Denoiser):
    """A U-Net, conditioned on the observation as one vector."""

    def __init__(
        self, config: DiffusionSpec, cameras: Sequence[str], task: TaskInfo, image_size: tuple[int, int]
    ) -> None:
        super().__init__(config, cameras, task, image_size)
        sizes = config.widths, config.kernel, config.groups, config.step_features
        self.unet = UNet(task.action_dim(config.control_mode), self.observation.dimension, *sizes)

    def condition(self, seen: Seen) -> Tensor:
        """Return the observations' vectors (B, F)."""
        features: Tensor = self.observation(seen)
        return features

    def forward(self, noisy: Tensor, steps: Tensor, condition: Tensor) -> Tensor:
        """Return the predicted noise; `condition`: (B, F)."""
        noise: Tensor = self.unet(noisy, steps, condition)
        return noise


class TransformerDenoiser(Denoiser):
    """A transformer, which attends to the observations one by one."""

    def __init__(
        self, config: DiffusionSpec, cameras: Sequence[str], task: TaskInfo, image_size: tuple[int, int]
    ) -> None:
        super().__init__(config, cameras, task, image_size)
        horizons = config.obs_horizon, config.pred_horizon
        seen = self.observation.dimension // config.obs_horizon
        shape = config.hidden, config.layers, config.heads, config.dropout
        self.transformer = DiffusionTransformer(task.action_dim(config.control_mode), seen, horizons, *shape)

    def condition(self, seen: Seen) -> Tensor:
        """Return the observations' vectors step by step (B, To, F)."""
        return self.observation.by_step(self.observation(seen))

    def forward(self, noisy: Tensor, steps: Tensor, condition: Tensor) -> Tensor:
        """Return the predicted noise; `condition`: (B, To, F)."""
        noise: Tensor = self.transformer(noisy, steps, condition)
        return noise


DENOISERS: dict[str, type[Denoiser]] = {"unet": UNetDenoiser, "transformer": TransformerDenoiser}
"""Backbone -> its network. Checkpoints name weights after the attributes `unet` and `transformer`."""


@dataclass(frozen=True)
class NoisyExample(Example):
    """An example with noise and diffusion steps for its chunk.

    `noise`: (B·draws, Tp, Da). `steps`: (B·draws,), at which the noise is added.
    """

    noise: Tensor
    steps: Tensor


class DenoisingObjective:
    """Mean squared error of the predicted noise (Ho et al. 2020, equation 14), or chunk."""

    def __init__(self, network: Denoiser, config: DiffusionSpec, frames: Frames) -> None:
        self.network, self.config = network, config
        self.sampler = ChunkSampler(network, config, frames)
        self.scheduler = make_scheduler(config)

    def sample(self, generator: torch.Generator) -> NoisyExample:
        """Draw a batch of different frames, with `noise_draws` noises each."""
        example = self.sampler.sample(generator)
        device, draws = example.chunk.device, self.config.noise_draws
        count = example.chunk.shape[0] * draws
        noise = torch.randn(count, *example.chunk.shape[1:], generator=generator).to(device)
        steps = torch.randint(self.config.diffusion_steps, (count,), generator=generator).to(device)
        return NoisyExample(example.seen, example.chunk, noise, steps)

    def loss(self, batch: NoisyExample) -> Tensor:
        """Return the mean squared error."""
        draws = self.config.noise_draws
        condition = self.network.condition(batch.seen).repeat_interleave(draws, 0)
        chunk = batch.chunk.repeat_interleave(draws, 0)
        noisy = self.scheduler.add_noise(chunk, batch.noise, batch.steps)
        target = batch.noise if self.config.prediction == "epsilon" else chunk
        return F.mse_loss(self.network(noisy, batch.steps, condition), target)


class Diffusion(ChunkPolicy[DiffusionSpec, Denoiser]):
    """Diffusion policy: a chunk denoised by a FiLM U-Net or a transformer.

    Source: Chi et al. 2023. Each slot draws noise from its own generator, so batch
    mates do not matter.
    """

    name: ClassVar[str] = "diffusion"
    version: ClassVar[int] = 1
    presets = PRESETS
    renamed_presets: ClassVar = {
        "published_size": "paper",
        "published_size_transformer": "paper_transformer",
    }
    runtime_fields = RUNTIME_FIELDS

    def __init__(self, task: TaskInfo, config: DiffusionSpec) -> None:
        super().__init__(task, config)
        self._generators: dict[int, torch.Generator] = {}
        self._scheduler: Any = None

    def make_network(self, image_size: tuple[int, int]) -> Denoiser:
        """Make the encoder with its backbone."""
        return DENOISERS[self.config.backbone](self.config, self.cameras, self.task, image_size)

    def make_objective(self, network: Denoiser, frames: Frames) -> DenoisingObjective:
        """Make the prediction of the noise, or of the chunk."""
        return DenoisingObjective(network, self.config, frames)

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Seed each slot's noise; each decision draws anew."""
        for slot, seed in zip(slots, seeds, strict=True):
            self._generators[slot] = torch.Generator().manual_seed(seed)

    def inference_note(self) -> str:
        """Return scheduler and steps."""
        return f"{self.config.scheduler.upper()}, {self.config.inference_steps} steps"

    def decide(self, network: Denoiser, seen: Seen, slots: Sequence[int]) -> Tensor:
        """Denoise, then keep the Ta actions from the present frame on."""
        input_checks.check_begun(slots, self._generators)
        condition = network.condition(seen)
        chunk = self._denoise(network, condition, [self._generators[slot] for slot in slots])
        present = self.config.past
        return chunk[:, present : present + self.config.action_horizon]

    def _denoise(self, network: Denoiser, condition: Tensor, generators: list[torch.Generator]) -> Tensor:
        """Return normalised chunks (B, Tp, Da), denoised from each generator's noise."""
        shape = (self.config.pred_horizon, self.task.action_dim(self.config.control_mode))
        chunk = torch.stack([torch.randn(shape, generator=g) for g in generators]).to(condition.device)
        self._scheduler = self._scheduler or make_scheduler(self.config)
        self._scheduler.set_timesteps(self.config.inference_steps)
        for step in self._scheduler.timesteps.tolist():
            steps = torch.full(chunk.shape[:1], step, device=chunk.device)
            noise = network(chunk, steps, condition)
            chunk = self._scheduler.step(noise, step, chunk, generator=generators).prev_sample
        return chunk


def make_scheduler(config: DiffusionSpec) -> Any:
    """Make diffusers' DDPM or DDIM scheduler.

    Squared-cosine betas, samples clipped to [-1, 1].
    """
    # Not at the top of the file: the import takes a second, which listing policies can save.
    if config.scheduler == "ddpm":
        from diffusers.schedulers.scheduling_ddpm import DDPMScheduler as Scheduler
    else:
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler as Scheduler
    return Scheduler(
        num_train_timesteps=config.diffusion_steps,
        beta_schedule="squaredcos_cap_v2",
        prediction_type=config.prediction,
        clip_sample=True,
    )
