"""The config of the diffusion policy, and its presets."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from altbench.api import added, changed
from altbench_policies.chunk_policy import ChunkSpec


class DiffusionSpec(ChunkSpec):
    """Config of the diffusion policy; see also ChunkSpec and its bases.

    The denoised sequence begins To − 1 steps before the present frame.
    `diffusion_steps`: T in training. `scheduler`, `inference_steps`: how a decision is
    sampled. `noise_draws`: noises and diffusion steps per encoded observation in a
    training batch (more than one spreads the encoder's cost). `prediction`: what the
    network predicts, the noise ("epsilon", Ho et al. 2020) or the chunk without it
    ("sample"), which takes fewer steps to learn (README.md).

    `backbone`: what predicts the noise. A U-Net has `widths` of its levels, `kernel`,
    `groups` of its GroupNorms, and `step_features`, the length of the diffusion step's
    embedding. A transformer has `layers` of `heads`, with tokens of `hidden` numbers
    and `dropout`. Each ignores the other's sizes.
    """

    widths: tuple[int, ...] = (64, 128, 256)
    kernel: int = Field(default=5, ge=1)
    groups: int = Field(default=8, ge=1)
    step_features: int = Field(default=128, ge=4, multiple_of=2)
    diffusion_steps: int = Field(default=100, ge=1)
    scheduler: Literal["ddpm", "ddim"] = "ddim"
    inference_steps: int = Field(default=10, ge=1)
    noise_draws: int = Field(default=1, ge=1)
    prediction: Literal["epsilon", "sample"] = added("epsilon")
    backbone: Literal["unet", "transformer"] = added("unet")
    layers: int = added(8, ge=1)
    heads: int = added(4, ge=1)
    hidden: int = added(256, ge=4, multiple_of=2)
    dropout: float = added(0.3, ge=0, lt=1)

    # The defaults of the base, changed to a size that two cores can train.
    shift: int = Field(default=4, ge=0)
    train_steps: int | None = changed(None, formerly=5000, ge=0)
    epochs: float = Field(default=300, ge=0)
    min_steps: int = added(5000, formerly=0, ge=0)
    max_steps: int = added(20_000, formerly=0, ge=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    betas: tuple[float, float] = (0.95, 0.999)
    weight_decay: float = Field(default=1e-6, ge=0)
    warmup_steps: int = Field(default=200, ge=0)
    ema_power: float = Field(default=0.75, ge=0, lt=1)

    @property
    def past(self) -> int:
        """The To − 1 steps of the older observations."""
        return self.obs_horizon - 1

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.inference_steps > self.diffusion_steps:
            raise ValueError(f"inference_steps {self.inference_steps} exceeds diffusion_steps {self.diffusion_steps}")
        return self

    @model_validator(mode="after")
    def _transformer_fits(self) -> Self:
        if self.backbone == "transformer" and self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} is not a multiple of heads {self.heads}")
        return self

    @model_validator(mode="after")
    def _unet_fits(self) -> Self:
        if self.backbone != "unet":
            return self
        halvings = 2 ** (len(self.widths) - 1)
        if not self.widths or self.pred_horizon % halvings:
            raise ValueError(f"pred_horizon {self.pred_horizon} must be a multiple of {halvings} for {self.widths}")
        uneven = [width for width in self.widths if width % self.groups]
        if uneven:
            raise ValueError(f"width {uneven[0]} is not a multiple of groups {self.groups}")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel {self.kernel} must be odd")
        return self


RUNTIME_FIELDS = frozenset({"scheduler", "inference_steps", "checkpoint_seconds"})

PAPER: dict[str, Any] = {  # for either backbone
    "encoder": "resnet18",
    "pooling": "spatial_softmax",
    "shift": 0,
    "crop": 76 / 84,
    "scheduler": "ddpm",
    "inference_steps": 100,
    "train_steps": 100_000,
    "learning_rate": 1e-4,
    "warmup_steps": 500,
}
PRESETS: dict[str, dict[str, Any]] = {
    "small": {},
    "paper": {**PAPER, "widths": (512, 1024, 2048)},
    "small_transformer": {"backbone": "transformer", "layers": 4, "hidden": 128, "dropout": 0.0},
    "paper_transformer": {**PAPER, "backbone": "transformer", "pred_horizon": 10},
}
