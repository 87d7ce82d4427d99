"""The config of recurrent behaviour cloning, and its presets."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from altbench_policies.chunk_policy import ChunkSpec
from altbench_policies.mixture import MixtureSpec


class RecurrentCloningSpec(ChunkSpec, MixtureSpec):
    """Config of bc_rnn_gmm; see also MixtureSpec, ChunkSpec and the latter's bases.

    The policy sees one observation and gives one action at each step: To = Tp = Ta = 1.
    `sequence`: steps of a training sample, and decisions after which the memory is
    cleared. `rnn_hidden`, `rnn_layers`: the LSTM's sizes. `batch_size` counts
    sequences.
    """

    sequence: int = Field(default=10, ge=1)
    rnn_hidden: int = Field(default=400, ge=1)
    rnn_layers: int = Field(default=2, ge=1)
    obs_horizon: int = Field(default=1, ge=1, le=1)
    pred_horizon: int = Field(default=1, ge=1, le=1)
    action_horizon: int = Field(default=1, ge=1, le=1)

    # Coordinates in [-1, 1], as in robomimic. Flat features drift by several units in the
    # first steps of training. Such an offset saturates the LSTM, which then learns nothing.
    pooling: Literal["average", "flat", "spatial_softmax"] = "spatial_softmax"

    # The defaults of the base, changed to a size that two cores can train.
    batch_size: int = Field(default=16, ge=2)
    shift: int = Field(default=4, ge=0)
    train_steps: int | None = Field(default=2500, ge=0)
    warmup_steps: int = Field(default=50, ge=0)


PRESETS: dict[str, dict[str, Any]] = {
    "small": {},
    "paper": {  # robomimic's image policies; the README lists the differences
        "encoder": "resnet18",
        "shift": 0,
        "crop": 76 / 84,
        "rnn_hidden": 1000,
        "optimizer": "adam",
        "train_steps": 300_000,
        "learning_rate": 1e-4,
        "schedule": "constant",
        "warmup_steps": 0,
    },
}
