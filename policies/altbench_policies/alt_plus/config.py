"""The config of ALT+, and its presets."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from altbench.api import added, changed
from altbench_policies.bc.config import BehaviourCloningSpec
from altbench_policies.lookup.flag import FLAG_FIELDS, FlagSpec
from altbench_policies.lookup.following import FollowSpec
from altbench_policies.lookup.index import IndexSpec


class AltPlusSpec(FlagSpec, FollowSpec, IndexSpec, BehaviourCloningSpec):
    """Config of ALT+; see also FlagSpec, FollowSpec, IndexSpec and BehaviourCloningSpec.

    BehaviourCloningSpec configures its network, a regressor. `appearance`: the share of
    the similarity that plain thumbnails of `appearance_size`² grey pixels per view have
    beside the learned key. `correct`: whether the retrieved chunk is corrected for the
    present observation (False: executed as demonstrated).

    `shrinkage`: a correction d weighs d² / (d² + `shrinkage`²), so that small ones,
    which are the network's own noise, leave the demonstration as it was. d is the
    largest change of a position. `shrinkage_unit`: the unit of d; "range": half the
    demonstrations' range; "miss": the network's median error on the frames that it was
    trained on.

    `familiar`: correct only episodes that begin with a familiar image (None: all). An
    image is familiar if it is as near to some demonstration's first image as this share
    of all pairs of demonstrations are to each other.

    `first_key`: the key by which the first decision of `lookup` = "monotone" finds its
    demonstration: the key itself ("learned"), or divided by its covariance within
    demonstrations ("whitened"). `whitening`: the share of the mean variance that is
    added to that covariance. `known`: an episode is executed uncorrected if, by the first
    key, its squared distance to one demonstration is at most this share of that to the
    next (0: never); then the object stands where that demonstration had it, and a
    correction is noise. `known_until`: how large a correction of a known episode would
    be, as the largest change of a position in half the demonstrations' range, if the
    object has been moved; from then on the episode is not known (0: never asked). The
    first decision is not asked: there the arm's own start makes corrections that large.
    `follow`: the episodes that "monotone" follows, "all", or those that are "known";
    then the others look among all frames at each decision.
    """

    appearance: float = Field(default=0.8, ge=0, lt=1)
    appearance_size: int = Field(default=12, ge=1)
    correct: bool = True
    shrinkage: float = Field(default=0.03, ge=0)
    shrinkage_unit: Literal["range", "miss"] = added("range")
    familiar: float | None = added(None, ge=0, le=1)
    lookup: Literal["nearest", "monotone"] = changed("monotone", formerly="nearest", left_out=True)
    score_against: Literal["followed", "all"] = changed("all", formerly="followed", left_out=True)
    first_key: Literal["learned", "whitened"] = changed("whitened", formerly="learned", left_out=True)
    whitening: float = added(1e-5, gt=0)
    known: float = changed(0.2, formerly=0.0, ge=0, le=1, left_out=True)
    known_until: float = changed(0.1, formerly=0.0, ge=0, left_out=True)
    follow: Literal["all", "known"] = changed("known", formerly="all", left_out=True)

    # A size that two cores can train, without a bottleneck behind the views, and with a
    # narrow head. README.md says what each of these gained.
    hidden: tuple[int, ...] = (256, 128)
    key_precision: Literal["float32", "float16"] = "float16"
    obs_horizon: int = Field(default=1, ge=1)
    share_encoder: bool = True
    view_features: int = Field(default=0, ge=0)
    ema_power: float = Field(default=0.75, ge=0, lt=1)
    train_steps: int | None = changed(None, formerly=3000, ge=0)
    epochs: float = Field(default=100, ge=0)
    min_steps: int = added(3000, formerly=0, ge=0)

    @model_validator(mode="after")
    def _first_key_is_used(self) -> Self:
        if self.first_key != "learned" and self.lookup != "monotone":
            raise ValueError(
                f"first_key = {self.first_key!r} finds a demonstration to follow: set lookup = 'monotone' as well, "
                "or take preset = 'nearest', which follows no demonstration"
            )
        if self.known and self.first_key == "learned":
            raise ValueError(
                "known needs a first key that tells demonstrations apart: set first_key = 'whitened' as well, or known = 0"
            )
        if self.follow == "known" and not self.known:
            raise ValueError("follow = 'known' needs known episodes: set known above 0, or follow = 'all'")
        return self


RUNTIME_FIELDS = FLAG_FIELDS | {"correct", "shrinkage", "checkpoint_seconds"}

NEAREST: dict[str, Any] = {
    **{"lookup": "nearest", "first_key": "learned", "score_against": "followed"},
    **{"known": 0.0, "known_until": 0.0, "follow": "all"},
}
"""The lookup as it was before: at each decision the nearest of all frames, by one key; every chunk is corrected."""
PRESETS: dict[str, dict[str, Any]] = {
    "small": {},
    "nearest": NEAREST,
    "robust": {  # for perturbed images; on clean ones it is less precise than `small` (README.md)
        **NEAREST,
        **{"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.05},
        **{"disturbed": 0.5, "overlay": 0.5, "erase": 1, "train_steps": 6000},
        **{"appearance": 0.5, "familiar": 0.2, "shrinkage": 0.5, "shrinkage_unit": "miss"},
    },
    "following": {  # a known episode is replayed to its end, wherever the object goes (README.md)
        **{"known_until": 0.0, "follow": "all"},
    },
    "paper": {  # ALT's encoder and chunks at the published size, trained as bc's `paper`
        **NEAREST,
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
