"""Settings of behaviour cloning, and its presets."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from altbench_policies.chunk_policy import ChunkSpec


class BehaviourCloningSpec(ChunkSpec):
    """Settings of bc; see also ChunkSpec, ObservationSpec, VisionSpec, AugmentSpec and TrainingSpec.

    The chunk regressed is the `pred_horizon` actions from the present frame on. `distance`: "l1" or "l2" between
    normalised actions. `hidden`: widths of the MLP's hidden layers.
    """

    distance: Literal["l1", "l2"] = "l1"
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
    "paper": {  # as the diffusion policy's, but for the head: there is no published bc to follow
        "encoder": "resnet18",
        "pooling": "spatial_softmax",
        "shift": 0,
        "crop": 76 / 84,
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
