"""The config of behaviour cloning with a mixture head, and its presets."""

from __future__ import annotations

from typing import Any, Literal

from altbench_policies.mixture import MixtureSpec
from altbench_policies.mlp import MlpSpec


class MixtureCloningSpec(MlpSpec, MixtureSpec):
    """Config of bc_gmm; see also MixtureSpec, MlpSpec and the latter's bases.

    `mixture`: "step": a mixture for each of the Tp actions from the present frame on,
    as robomimic has it for its one action. "chunk": one mixture over whole chunks, so
    that all their actions come from one mode.
    """

    mixture: Literal["step", "chunk"] = "step"


PRESETS: dict[str, dict[str, Any]] = {
    "small": {},
    "paper": {  # robomimic's image policies (one action per decision); the README lists differences
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
