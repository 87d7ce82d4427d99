"""Settings of behaviour cloning with a mixture head, and its presets."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from altbench_policies.chunk_policy import ChunkSpec
from altbench_policies.mixture import MixtureSpec


class MixtureCloningSpec(ChunkSpec, MixtureSpec):
    """Settings of bc_gmm; see also MixtureSpec, ChunkSpec, ObservationSpec, VisionSpec, AugmentSpec and TrainingSpec.

    `mixture`: "step", a mixture for each of the Tp actions from the present frame on, as robomimic has it for its one
    action; "chunk", one over whole chunks, so that all their actions come from one mode. `hidden`: widths of the MLP's
    hidden layers.
    """

    mixture: Literal["step", "chunk"] = "step"
    hidden: tuple[int, ...] = (512, 512)

    # the size for two cores
    pred_horizon: int = Field(default=8, ge=1)
    shift: int = Field(default=4, ge=0)
    train_steps: int | None = Field(default=1500, ge=0)
    warmup_steps: int = Field(default=50, ge=0)

    @model_validator(mode="after")
    def _horizons_fit(self) -> Self:
        if self.action_horizon > self.pred_horizon:
            raise ValueError(f"action_horizon {self.action_horizon} exceeds pred_horizon {self.pred_horizon}")
        return self


PRESETS: dict[str, dict[str, Any]] = {
    "small": {},
    "paper": {  # robomimic's image policies (one action per decision), but for what the README lists
        "encoder": "resnet18",
        "pooling": "spatial_softmax",
        "shift": 0,
        "crop": 76 / 84,
        "hidden": (1024, 1024),
        "obs_horizon": 1,
        "pred_horizon": 1,
        "action_horizon": 1,
        "batch_size": 16,
        "optimizer": "adam",
        "train_steps": 300_000,
        "learning_rate": 1e-4,
        "schedule": "constant",
        "warmup_steps": 0,
    },
}
