"""Settings of ALT+, and its presets."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from altbench.api import added
from altbench_policies.bc.config import BehaviourCloningSpec
from altbench_policies.lookup.flag import FLAG_FIELDS, FlagSpec
from altbench_policies.lookup.index import IndexSpec


class AltPlusSpec(FlagSpec, IndexSpec, BehaviourCloningSpec):
    """Settings of ALT+; see also FlagSpec, IndexSpec and BehaviourCloningSpec (its network is a regressor's).

    `appearance`: share of the similarity that plain thumbnails of `appearance_size`² grey pixels per view have beside
    the learned key. `correct`: whether the retrieved chunk is carried to the present observation (False: played as
    demonstrated). `shrinkage`: a correction d weighs d² / (d² + `shrinkage`²), so that those which are the network's own
    noise leave the demonstration as it was; d is the largest change of a position, in half the demonstrations' range, or,
    with `shrinkage_unit` "miss", in what the network misses by on the frames that it was trained on (in the median).
    `familiar`: correct only in episodes whose first image is as near to some demonstration's first as those of this share
    of all pairs of demonstrations are to each other (None: in all).
    """

    appearance: float = Field(default=0.8, ge=0, lt=1)
    appearance_size: int = Field(default=12, ge=1)
    correct: bool = True
    shrinkage: float = Field(default=0.03, ge=0)
    shrinkage_unit: Literal["range", "miss"] = added("range")
    familiar: float | None = added(None, ge=0, le=1)

    # the size for two cores; no bottleneck behind the views, a narrow head: README.md has what each of these bought
    hidden: tuple[int, ...] = (256, 128)
    key_precision: Literal["float32", "float16"] = "float16"
    obs_horizon: int = Field(default=1, ge=1)
    share_encoder: bool = True
    view_features: int = Field(default=0, ge=0)
    ema_power: float = Field(default=0.75, ge=0, lt=1)
    train_steps: int | None = Field(default=3000, ge=0)


RUNTIME_FIELDS = FLAG_FIELDS | {"correct", "shrinkage", "checkpoint_seconds"}

PRESETS: dict[str, dict[str, Any]] = {
    "small": {},
    "robust": {  # `small` for disturbed images, at the price of precision on clean ones: README.md has both
        **{"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.05},
        **{"disturbed": 0.5, "overlay": 0.5, "erase": 1, "train_steps": 6000},
        **{"appearance": 0.5, "familiar": 0.2, "shrinkage": 0.5, "shrinkage_unit": "miss"},
    },
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
