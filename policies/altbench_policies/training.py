"""The one training loop that serves alt, diffusion and bc: seeded, logged, and resumable bit for bit.

Everything random in step s is drawn from a generator seeded by (seed, s); so a run that is killed and started again
passes through the same weights as one that was not, on a CPU and given the same number of threads. (On a GPU some gradients,
such as attention's, are added up in no fixed order.)
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Protocol, Self, TypeVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from altbench.api import FitContext, Spec, changed, choose_precision
from altbench_policies.resume import Resumable
from altbench_policies.training_log import TrainingLog

Batch = TypeVar("Batch")


class TrainingSpec(Spec):
    """Settings of the loop.

    `train_steps` gradient steps; where it is None, `epochs` passes over the frames (0 steps leaves
    the initial weights). `schedule`: of the learning rate after a linear warm-up. `precision`:
    "bf16" runs the network under autocast, the weights stay fp32; "auto" is bf16 where the hardware
    multiplies it, fp32 elsewhere. `ema_power` > 0 keeps averaged weights, and those are what the
    policy acts with. `max_gradient`: the gradient's norm is clipped to it (0: not).
    `checkpoint_seconds`: how often the state to resume from is written.
    """

    train_steps: int | None = Field(default=None, ge=0)
    epochs: float = Field(default=40, ge=0)
    batch_size: int = Field(default=64, ge=2)
    optimizer: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_steps: int = Field(default=0, ge=0)
    precision: Literal["auto", "fp32", "bf16"] = changed("auto", formerly="bf16")
    ema_power: float = Field(default=0.0, ge=0, lt=1)
    ema_max: float = Field(default=0.9999, gt=0, lt=1)
    max_gradient: float = Field(default=0.0, ge=0)
    checkpoint_seconds: float = Field(default=20.0, gt=0)

    def resolve(self, device: str) -> Self:
        """Return these settings with the precision that `device` is to train in."""
        if self.precision != "auto":
            return self
        return self.model_copy(update={"precision": choose_precision(device).precision})

    def total_steps(self, frames: int) -> int:
        """Gradient steps for a training set of `frames`."""
        if self.train_steps is not None:
            return self.train_steps
        return math.ceil(self.epochs * frames / min(self.batch_size, frames))


class Objective(Protocol[Batch]):
    """What is minimised: batches, and the loss of one."""

    def sample(self, generator: torch.Generator) -> Batch:
        """A batch drawn from `generator` alone, on the network's device; runs without gradients and in fp32."""
        ...

    def loss(self, batch: Batch) -> Tensor:
        """The mean loss of `batch`, a scalar; runs under autocast where the settings ask for bf16."""
        ...


def train(
    network: nn.Module,
    objective: Objective[Batch],
    config: TrainingSpec,
    context: FitContext,
    *,
    frames: int,
    images_per_step: int,
    fingerprint: str,
) -> None:
    """Minimise `objective` over the weights of `network`, in place; it ends in evaluation mode.

    `frames`: size of the training set. `images_per_step`: for the throughput that is logged. `fingerprint`: names the
    data and the settings; a state in `context.folder` made with another is not resumed from.
    """
    if config.precision == "auto":
        config = config.resolve(context.device)
        fingerprint += f"-{config.precision}"
    total = config.total_steps(frames)
    learner = Learner(network, config, total)
    state = Resumable(context.folder, learner, f"{fingerprint}-{context.seed}-{total}", config.checkpoint_seconds)
    step = state.resume()
    with TrainingLog(context, step, total, images_per_step) as log:
        while step < total:
            loss = learner.step(objective, step, context.seed)
            step += 1
            log.record(step, loss, learner.learning_rate(step - 1), learner.data_seconds)
            state.save_if_due(step, last=step == total)
    learner.finish()


class Learner:
    """A network with its optimizer and averaged weights: what one gradient step changes.

    `data_seconds`: host time spent so far in `Objective.sample`, where batches are cut and augmented in the loop itself.
    """

    def __init__(self, network: nn.Module, config: TrainingSpec, total: int) -> None:
        self.network, self.total = network.train(), total
        self.parameters: list[Tensor] = [p for p in network.parameters() if p.requires_grad]
        kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
        self.optimizer = kind(
            self.parameters, config.learning_rate, config.betas, weight_decay=config.weight_decay, fused=True
        )
        for parameter in self.parameters:  # made now, so that a state to resume from has tensors to be copied into
            moments = {k: torch.zeros_like(parameter) for k in ("exp_avg", "exp_avg_sq")}
            self.optimizer.state[parameter] = {"step": torch.zeros((), device=parameter.device), **moments}
        self.averages = [p.detach().clone() for p in self.parameters] if config.ema_power else []
        self.device = self.parameters[0].device.type
        self.config = config.resolve(self.device)
        self.data_seconds = 0.0

    def step(self, objective: Objective[Batch], step: int, seed: int) -> Tensor:
        """Gradient step number `step` (from 0); the loss, detached."""
        generator = step_generator(seed, step)
        batch = self._sample(objective, generator)
        with (
            _dropout_from(generator, self.device),
            torch.autocast(self.device, torch.bfloat16, enabled=self.config.precision == "bf16"),
        ):
            loss = objective.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        self.update(step)
        return loss.detach()

    def _sample(self, objective: Objective[Batch], generator: torch.Generator) -> Batch:
        """A batch, its time added to `data_seconds`.

        A GPU is waited for first, so that the step before is not counted: that costs nothing, since the copy of the rows
        drawn on the CPU waits for it anyway. Kernels of the sample that run on after its last copy are not counted.
        """
        if self.device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        with torch.no_grad():
            batch = objective.sample(generator)
        self.data_seconds += time.perf_counter() - began
        return batch

    def update(self, step: int) -> None:
        """Apply the gradients of step number `step` to the weights, and the weights to their averages."""
        if self.config.max_gradient:
            nn.utils.clip_grad_norm_(self.parameters, self.config.max_gradient)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.averages:
            with torch.no_grad():
                torch._foreach_lerp_(self.averages, self.parameters, 1 - self.average_decay(step))

    def learning_rate(self, step: int) -> float:
        """Learning rate of step number `step`: linear warm-up, then constant or a half cosine down to 0."""
        config, warmup = self.config, self.config.warmup_steps
        if step < warmup:
            return config.learning_rate * (step + 1) / warmup
        if config.schedule == "constant":
            return config.learning_rate
        done = (step - warmup) / max(1, self.total - warmup)
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))

    def average_decay(self, step: int) -> float:
        """Decay of the averaged weights: 1 − (1 + step)^−power, at most `ema_max` (as in diffusion policy's EMA)."""
        return min(self.config.ema_max, 1 - float((1 + step) ** -self.config.ema_power))

    def tensors(self) -> dict[str, Tensor]:
        """Name -> every tensor that a gradient step changes (the live ones)."""
        live = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for i, parameter in enumerate(self.parameters):
            live |= {f"optimizer.{i}.{k}": v for k, v in self.optimizer.state[parameter].items()}
        return live | {f"average.{i}": tensor for i, tensor in enumerate(self.averages)}

    def finish(self) -> None:
        """Give the network its averaged weights, and put it in evaluation mode."""
        with torch.no_grad():
            for parameter, average in zip(self.parameters, self.averages, strict=False):
                parameter.copy_(average)
        self.network.eval()


@contextmanager
def _dropout_from(generator: torch.Generator, device: str) -> Iterator[None]:
    """What layers draw from the global generators of the CPU and `device` comes from `generator`; they are put back."""
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng([torch.cuda.current_device()] if device == "cuda" else []):
        torch.manual_seed(seed)
        yield


def step_generator(seed: int, step: int) -> torch.Generator:
    """The CPU generator that everything random in gradient step `step` is drawn from."""
    words = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0]) >> 1)
