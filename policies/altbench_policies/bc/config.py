"""The config of behaviour cloning, and its presets."""

from __future__ import annotations

from typing import Any, Literal

from altbench_policies.mlp import MlpSpec


class BehaviourCloningSpec(MlpSpec):
    """Config of bc. `distance`: "l1" or "l2" between normalised actions.

    See also MlpSpec, ChunkSpec, ObservationSpec, VisionSpec, AugmentSpec and
    TrainingSpec.
    """

    distance: Literal["l1", "l2"] = "l1"


PRESETS: dict[str, dict[str, Any]] = {
    "small": {},
    "paper": {  # the diffusion policy's with another head: no published bc to follow
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
