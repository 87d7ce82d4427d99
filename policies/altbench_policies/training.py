"""The one training loop of all policies that learn: seeded, logged, resumable.

Everything random in step s is drawn from a generator that is seeded by (seed, s). So a
run that is killed and started again has the same weights, bit for bit, as one that was
not. This holds on a CPU with the same number of threads; on a GPU some gradients, such
as attention's, are summed in no fixed order.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, Protocol, Self, TypeVar

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from altbench.api import FitContext, Spec, added, changed, choose_precision
from altbench_policies.plateau import Plateau
from altbench_policies.resume import Resumable
from altbench_policies.training_log import TrainingLog

Batch = TypeVar("Batch")


UNUSED_EPOCHS = 40.0
"""`TrainingSpec.epochs` if `train_steps` decides; published keys hold this number."""


class TrainingSpec(Spec):
    """Config of the training loop.

    `train_steps`: gradient steps (0 keep the initial weights). None: `epochs` passes over
    the frames, but at least `min_steps` and at most `max_steps` steps (0: no limit); with
    `train_steps` these three mean nothing. `batch_size`: samples of a gradient step. `optimizer`,
    `learning_rate`, `betas`, `weight_decay`: torch's Adam or AdamW, and its arguments.
    `warmup_steps`: steps in which the learning rate rises linearly from 0. `schedule`:
    learning rate after a linear warm-up. `precision`: with "bf16" the network runs
    under autocast; the weights stay fp32. "auto" is bf16 if the hardware multiplies it,
    else fp32. `ema_power` > 0: averaged weights are kept, and the policy acts with
    them. `ema_max`: the largest weight of the average so far in a step's new average.
    `max_gradient`: largest norm of the gradient, clipped (0: not clipped).
    `checkpoint_seconds`: time between two states to resume from.

    `plateau`: training ends before `train_steps` if the mean loss of `plateau_window`
    steps is not lower by this share than that of the window before (Plateau has the
    rule; 0: never).
    """

    train_steps: int | None = Field(default=None, ge=0)
    epochs: float = Field(default=UNUSED_EPOCHS, ge=0)
    min_steps: int = added(0, ge=0)
    max_steps: int = added(0, ge=0)
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
    plateau: float = added(0.0, ge=0, lt=1)
    plateau_window: int = added(200, ge=1)
    checkpoint_seconds: float = Field(default=20.0, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _forget_unused(cls, values: object) -> object:
        # One training has one key: what means nothing beside `train_steps` has one value.
        if not isinstance(values, Mapping):
            return values
        steps = values.get("train_steps", cls.model_fields["train_steps"].default)
        unused = {"epochs": UNUSED_EPOCHS, "min_steps": 0, "max_steps": 0}
        return values if steps is None else {**values, **unused}

    @model_validator(mode="after")
    def _limits_agree(self) -> Self:
        if 0 < self.max_steps < self.min_steps:
            raise ValueError(f"max_steps {self.max_steps} is less than min_steps {self.min_steps}")
        return self

    def resolve(self, device: str) -> Self:
        """Return these settings with the precision that `device` is to train in."""
        if self.precision != "auto":
            return self
        return self.model_copy(update={"precision": choose_precision(device).precision})

    def total_steps(self, frames: int) -> int:
        """Return the number of gradient steps for a training set of `frames`."""
        if self.train_steps is not None:
            return self.train_steps
        steps = max(self.min_steps, math.ceil(self.epochs * frames / min(self.batch_size, frames)))
        return min(steps, self.max_steps) if self.max_steps else steps


class Objective(Protocol[Batch]):
    """What training minimises: it draws batches, and gives the loss of one."""

    def sample(self, generator: torch.Generator) -> Batch:
        """Draw a batch from `generator` alone, on the network's device.

        Runs without gradients and in fp32.
        """
        ...

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean loss of `batch`, a scalar; runs under autocast with "bf16"."""
        ...


def train(
    network: nn.Module,
    objective: Objective[Batch],
    config: TrainingSpec,
    context: FitContext,
    *,
    frames: int,
    images_per_step: int,
    digest: str,
) -> None:
    """Minimise `objective` over the weights of `network`, in place.

    The network ends in evaluation mode. `frames`: size of the training set.
    `images_per_step`: for the throughput that is logged. `digest`: names the data and
    the config; a state in `context.folder` with another digest is not used.
    """
    if config.precision == "auto":
        config = config.resolve(context.device)
        digest += f"-{config.precision}"
    total = config.total_steps(frames)
    learner = Learner(network, config, total)
    state = Resumable(context.folder, learner, f"{digest}-{context.seed}-{total}", config.checkpoint_seconds)
    step = state.resume()
    with TrainingLog(context, step, total, images_per_step) as log:
        while step < learner.end:
            rate = learner.learning_rate(step)
            loss = learner.step(objective, step, context.seed)
            step += 1
            log.total = learner.end
            log.record(step, loss, rate, learner.data_seconds)
            state.save_if_due(step, last=step == learner.end)
    learner.finish()


class Learner:
    """A network, its optimizer and averaged weights: all that a gradient step changes.

    `data_seconds`: host time spent so far in `Objective.sample`, which cuts and
    augments batches in the loop itself.
    """

    def __init__(self, network: nn.Module, config: TrainingSpec, total: int) -> None:
        self.network, self.total = network.train(), total
        self.parameters: list[Tensor] = [p for p in network.parameters() if p.requires_grad]
        kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
        self.optimizer = kind(
            self.parameters, config.learning_rate, config.betas, weight_decay=config.weight_decay, fused=True
        )
        # The optimizer would make its state at the first step. It is made here, because a
        # resumed run copies its saved tensors into these.
        for parameter in self.parameters:
            moments = {k: torch.zeros_like(parameter) for k in ("exp_avg", "exp_avg_sq")}
            self.optimizer.state[parameter] = {"step": torch.zeros((), device=parameter.device), **moments}
        self.averages = [p.detach().clone() for p in self.parameters] if config.ema_power else []
        self.device = self.parameters[0].device.type
        self.config = config.resolve(self.device)
        device = self.parameters[0].device
        self.plateau = Plateau(config.plateau, config.plateau_window, total, device) if config.plateau else None
        self.data_seconds = 0.0

    def step(self, objective: Objective[Batch], step: int, seed: int) -> Tensor:
        """Take gradient step number `step` (from 0); return the loss, detached."""
        generator = step_generator(seed, step)
        batch = self._sample(objective, generator)
        with (
            _dropout_from(generator, self.device),
            torch.autocast(self.device, torch.bfloat16, enabled=self.config.precision == "bf16"),
        ):
            loss = objective.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        self.update(step)
        if self.plateau:
            self.plateau.record(step, loss)
        return loss.detach()

    def _sample(self, objective: Objective[Batch], generator: torch.Generator) -> Batch:
        """Draw a batch; add its time to `data_seconds`.

        On a GPU, wait for the step before, so that it is not counted. The wait costs
        nothing: copying the rows, which are drawn on the CPU, would wait for it anyway.
        Kernels that run on after the last copy of the sample are not counted.
        """
        if self.device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        with torch.no_grad():
            batch = objective.sample(generator)
        self.data_seconds += time.perf_counter() - began
        return batch

    def update(self, step: int) -> None:
        """Apply the gradients of step number `step`, then update the averaged weights."""
        if self.config.max_gradient:
            nn.utils.clip_grad_norm_(self.parameters, self.config.max_gradient)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.averages:
            average = get_ema_multi_avg_fn(self.average_decay(step))  # type: ignore[no-untyped-call]
            average(self.averages, self.parameters, None)

    @property
    def end(self) -> int:
        """The number of steps after which training ends; a plateau may bring it forward."""
        return self.plateau.end if self.plateau else self.total

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of step number `step`.

        It rises linearly during warm-up. Then it is constant, or falls to 0 along a
        half cosine. After a plateau it falls to 0 by then.
        """
        return self._scheduled(step) * (self.plateau.cooling(step) if self.plateau else 1.0)

    def _scheduled(self, step: int) -> float:
        config, warmup = self.config, self.config.warmup_steps
        if step < warmup:
            return config.learning_rate * (step + 1) / warmup
        if config.schedule == "constant":
            return config.learning_rate
        done = (step - warmup) / max(1, self.total - warmup)
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))

    def average_decay(self, step: int) -> float:
        """Return the decay of the averaged weights.

        1 − (1 + step)^−power, at most `ema_max`. Source: the EMA of diffusion policy's
        code (Chi et al. 2023).
        """
        return min(self.config.ema_max, 1 - float((1 + step) ** -self.config.ema_power))

    def tensors(self) -> dict[str, Tensor]:
        """Return name -> every tensor that a gradient step changes; the live ones."""
        live = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for i, parameter in enumerate(self.parameters):
            live |= {f"optimizer.{i}.{k}": v for k, v in self.optimizer.state[parameter].items()}
        live |= {f"average.{i}": tensor for i, tensor in enumerate(self.averages)}
        return live | {f"plateau.{k}": v for k, v in (self.plateau.tensors() if self.plateau else {}).items()}

    def finish(self) -> None:
        """Give the network its averaged weights, and put it in evaluation mode."""
        with torch.no_grad():
            for parameter, average in zip(self.parameters, self.averages, strict=False):
                parameter.copy_(average)
        self.network.eval()


@contextmanager
def _dropout_from(generator: torch.Generator, device: str) -> Iterator[None]:
    """Draw from `generator` what layers draw from the global generators.

    The layers draw from those of the CPU and of `device`. Both are restored afterwards.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng([torch.cuda.current_device()] if device == "cuda" else []):
        torch.manual_seed(seed)
        yield


def step_generator(seed: int, step: int) -> torch.Generator:
    """Return the CPU generator for everything random in gradient step `step`."""
    words = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0]) >> 1)
