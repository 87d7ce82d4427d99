"""Settings of ALT+, and its presets."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from altbench_policies.bc.settings import BehaviourCloningSpec
from altbench_policies.lookup.flag import FLAG_FIELDS, FlagSpec
from altbench_policies.lookup.index import IndexSpec


class AltPlusSpec(FlagSpec, IndexSpec, BehaviourCloningSpec):
    """Settings of ALT+; see also FlagSpec, IndexSpec and BehaviourCloningSpec (its network is a regressor's).

    `appearance`: share of the similarity that plain thumbnails of `appearance_size`² grey pixels per view have beside
    the learned key. `correct`: when the retrieved chunk is carried to the present observation: "always", "never" (it is
    played as demonstrated), or in episodes that begin with a "familiar" image: one as near to some demonstration's first
    as those of a share `familiar` of all pairs of demonstrations are to each other. `shrinkage`: a correction d weighs
    d² / (d² + s²), so that those which are the network's own noise leave the demonstration as it was; d is the largest
    change of a position, in half the demonstrations' range, and s is `shrinkage` times what the network misses by, in the
    median, on the frames that it was trained on.
    """

    appearance: float = Field(default=0.5, ge=0, lt=1)
    appearance_size: int = Field(default=12, ge=1)
    correct: Literal["familiar", "always", "never"] = "familiar"
    familiar: float = Field(default=0.2, ge=0, le=1)
    shrinkage: float = Field(default=0.5, ge=0)

    # the size for two cores; no bottleneck behind the views, a narrow head: README.md has what each of these bought
    hidden: tuple[int, ...] = (256, 128)
    key_precision: Literal["float32", "float16"] = "float16"
    obs_horizon: int = Field(default=1, ge=1)
    share_encoder: bool = True
    view_features: int = Field(default=0, ge=0)
    brightness: float = Field(default=0.5, ge=0, le=1)
    contrast: float = Field(default=0.5, ge=0, le=1)
    saturation: float = Field(default=0.5, ge=0, le=1)
    hue: float = Field(default=0.05, ge=0, le=0.5)
    disturbed: float = Field(default=0.5, gt=0, le=1)
    overlay: float = Field(default=0.5, ge=0, le=1)
    erase: int = Field(default=1, ge=0)
    ema_power: float = Field(default=0.75, ge=0, lt=1)
    train_steps: int | None = Field(default=6000, ge=0)


RUNTIME_FIELDS = FLAG_FIELDS | {"correct", "familiar", "shrinkage", "checkpoint_seconds"}

PRESETS: dict[str, dict[str, Any]] = {
    "small": {},
    "paper": {  # ALT's encoder and chunks at the published size, trained as bc's
        "encoder": "resnet18",
        "pooling": "spatial_softmax",
        "shift": 0,
        "crop": 76 / 84,
        "train_steps": 20_000,
        "learning_rate": 1e-4,
        "weight_decay": 1e-6,
        "warmup_steps": 500,
    },
}
