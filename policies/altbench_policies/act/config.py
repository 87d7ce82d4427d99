"""The config of ACT, and its presets."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from altbench.api import added, changed
from altbench_policies.chunk_policy import ChunkSpec


class ActSpec(ChunkSpec):
    """Config of ACT; see also ChunkSpec, ObservationSpec, VisionSpec and TrainingSpec.

    `patch`: `patch` × `patch` cells of an encoder's feature map are one token; so
    `pooling`, `keypoints` and `view_features` have no effect. `hidden` (length of the
    tokens), `heads`, `feedforward` and `dropout` hold for all transformer layers.
    `style_layers`, `encoder_layers`, `decoder_layers`: the number of layers in the
    encoder of actions, the encoder and the decoder. `latent`: length of the style z.
    `kl_weight`: weight of the KL divergence beside the L1 distance. `mask_padding`:
    actions past an episode's end are neither seen nor learned (otherwise they repeat
    the last one). `temporal_ensemble`: decide at every step, and execute the mean of
    what all chunks predict for it; the i-th (0 the oldest) has the weight
    exp(−`ensemble_rate`·i).
    """

    patch: int = Field(default=2, ge=1)
    hidden: int = Field(default=128, ge=2)
    heads: int = Field(default=4, ge=1)
    feedforward: int = Field(default=256, ge=1)
    style_layers: int = Field(default=1, ge=1)
    encoder_layers: int = Field(default=2, ge=1)
    decoder_layers: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    latent: int = Field(default=32, ge=1)
    kl_weight: float = Field(default=10.0, ge=0)
    mask_padding: bool = True
    temporal_ensemble: bool = False
    ensemble_rate: float = Field(default=0.01, ge=0)

    # The defaults of the base, changed to a size that two cores can train.
    pose: bool = False
    obs_horizon: int = Field(default=1, ge=1, le=1)
    pred_horizon: int = Field(default=8, ge=1)
    shift: int = Field(default=4, ge=0)
    train_steps: int | None = changed(None, formerly=2500, ge=0)
    epochs: float = Field(default=150, ge=0)
    min_steps: int = added(2500, formerly=0, ge=0)
    max_steps: int = added(20_000, formerly=0, ge=0)
    warmup_steps: int = Field(default=100, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.temporal_ensemble and self.action_horizon != 1:
            raise ValueError(
                f"temporal_ensemble decides at every step: action_horizon must be 1, got {self.action_horizon}"
            )
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} is not a multiple of heads {self.heads}")
        return self


RUNTIME_FIELDS = frozenset({"action_horizon", "temporal_ensemble", "ensemble_rate", "checkpoint_seconds"})

PRESETS: dict[str, dict[str, Any]] = {
    "small": {},
    "with_pose": {"pose": True},  # as the published one; with 30 demonstrations it goes by the pose alone (README.md)
    "paper": {  # table III of the paper; the README lists the differences
        "encoder": "resnet18",
        "patch": 1,
        "pose": True,
        "hidden": 512,
        "heads": 8,
        "feedforward": 3200,
        "style_layers": 4,
        "encoder_layers": 4,
        "decoder_layers": 7,
        "dropout": 0.1,
        "pred_horizon": 100,
        "action_horizon": 1,
        "temporal_ensemble": True,
        "shift": 0,
        "batch_size": 8,
        "train_steps": 100_000,
        "learning_rate": 1e-5,
        "weight_decay": 1e-4,
        "schedule": "constant",
        "warmup_steps": 0,
    },
}
