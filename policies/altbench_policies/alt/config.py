"""The config of the action lookup table, and its presets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from altbench.api import added, changed
from altbench_policies.augment import AugmentSpec
from altbench_policies.checkpoint import sha256_of
from altbench_policies.control import ControlSpec
from altbench_policies.lookup.flag import FLAG_FIELDS, FlagSpec
from altbench_policies.lookup.following import FollowSpec
from altbench_policies.lookup.index import IndexSpec
from altbench_policies.training import TrainingSpec
from altbench_policies.vision import VisionSpec


class AltSpec(ControlSpec, FlagSpec, FollowSpec, IndexSpec, VisionSpec, AugmentSpec, TrainingSpec):
    """Config of ALT.

    See also ControlSpec, FlagSpec, FollowSpec, IndexSpec, VisionSpec, AugmentSpec and
    TrainingSpec.

    `weights`: what a ResNet-18 (`norm = "batch"`, `width = 1`) begins with: "" for a
    draw from the seed, "imagenet" for torchvision's from the Hugging Face Hub, or the
    path of a safetensors file in torchvision's layout. `weights_sha256`: the digest of
    that file, computed if it is not given, so that results are keyed by what the file
    held. `weight_precision`: precision of the trained weights, in memory and in the
    checkpoint; the network computes in float32.

    `cameras`: which views make the key (empty: all of the task's). `fuse`: "mlp" joins
    the views by Linear(`hidden`)–ReLU–Linear(`embedding`); "concat" sets the views'
    unit vectors side by side. `view_features`: length of one view's vector (0: the
    encoder's own features, without a linear layer). `pose`: adds a branch
    Dp–`pose_hidden`–ReLU–`pose_features` of the normalised agent_pos, scaled by
    `pose_weight`. Its augmentation is noise of standard deviation `pose_noise`, in
    units of half the demonstrations' range.

    `action_horizon`: Ta, the actions that are executed. `obs_horizon`: To, the latest
    observations that a decision is given; the key is made of the last one.
    `temperature`: what NT-Xent divides similarities by.

    `logits`: how NT-Xent's similarities are computed in bf16 training: in "fp32", or
    as "autocast" rounds them (gradients off by 3 to 11 %), which was done before this
    setting existed.

    `temporal_positive`: the second view of a pair is of a frame at most so many steps
    away in the same demonstration (0: the same frame). `appearance`: the share of the
    similarity that plain thumbnails of `appearance_size`² grey pixels per view have
    beside the learned key (0: none, as in the paper); they tell unrelated images from
    new places (README.md).

    `first_key`: the key by which the first decision of "monotone" finds its
    demonstration. "learned" is the key itself. "whitened" divides it by its covariance
    within demonstrations, so that what differs between them counts (Fisher's
    discriminant). "contrast" is another network of the same size, trained to tell
    demonstrations apart. `first_cameras`: the views of "contrast" (empty: the first of
    `cameras`; a wrist's first image shows little but the arm's noise). `shrinkage`: the
    share of the mean variance that is added to the covariance of "whitened".
    """

    weights: str = added("")
    weights_sha256: str = added("")
    weight_precision: Literal["float32", "float16"] = added("float32")
    cameras: tuple[str, ...] = ()
    action_horizon: int = Field(default=8, ge=1)
    obs_horizon: int = Field(default=1, ge=1)
    view_features: int = Field(default=128, ge=0)
    fuse: Literal["mlp", "concat"] = "mlp"
    hidden: int = Field(default=256, ge=1)
    embedding: int = Field(default=128, ge=1)
    pose: bool = False
    pose_hidden: int = Field(default=64, ge=1)
    pose_features: int = Field(default=32, ge=1)
    pose_weight: float = Field(default=1.0, ge=0)
    pose_noise: float = Field(default=0.01, ge=0)
    temperature: float = Field(default=0.1, gt=0)
    logits: Literal["fp32", "autocast"] = changed("fp32", formerly="autocast", left_out=True)
    temporal_positive: int = Field(default=0, ge=0)
    appearance: float = Field(default=0.3, ge=0, lt=1)
    appearance_size: int = Field(default=12, ge=1)
    lookup: Literal["nearest", "monotone"] = changed("monotone", formerly="nearest", left_out=True)
    score_against: Literal["followed", "all"] = changed("all", formerly="followed", left_out=True)
    first_key: Literal["learned", "whitened", "contrast"] = changed("contrast", formerly="learned", left_out=True)
    first_cameras: tuple[str, ...] = added(())
    shrinkage: float = added(1e-5, gt=0)

    # The defaults of the base, changed to a size that two cores can train.
    encoder: Literal["resnet18", "cnn3", "cnn4", "vit"] = "cnn4"
    pooling: Literal["average", "flat", "spatial_softmax"] = "flat"
    shift: int = Field(default=1, ge=0)
    brightness: float = Field(default=0.2, ge=0, le=1)
    contrast: float = Field(default=0.2, ge=0, le=1)
    saturation: float = Field(default=0.2, ge=0, le=1)
    hue: float = Field(default=0.05, ge=0, le=0.5)
    train_steps: int | None = Field(default=400, ge=0)
    learning_rate: float = Field(default=3e-4, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _name_the_contents(cls, values: Any) -> Any:
        """Set `weights_sha256` from the weights file, if it exists.

        A missing file raises later, in `fit`; a fitted policy does not need it.
        """
        path = Path(str(values.get("weights") or "")) if isinstance(values, dict) else Path()
        if not path.is_file() or values.get("weights_sha256"):
            return values
        return {**values, "weights_sha256": sha256_of(path)}

    @model_validator(mode="after")
    def _first_key_is_used(self) -> Self:
        if self.first_key != "learned" and self.lookup != "monotone":
            raise ValueError(
                f"first_key = {self.first_key!r} finds a demonstration to follow: set lookup = 'monotone' as well, "
                "or first_key = 'learned'"
            )
        return self

    @model_validator(mode="after")
    def _pretrained_weights_fit(self) -> Self:
        if self.weights and (self.encoder, self.norm, self.width) != ("resnet18", "batch", 1.0):
            raise ValueError(
                f"weights = {self.weights!r} are of a ResNet-18: set encoder = 'resnet18', norm = 'batch' and width = 1, "
                f"got {self.encoder!r}, {self.norm!r} and {self.width:g}"
            )
        return self


RUNTIME_FIELDS = FLAG_FIELDS | {"checkpoint_seconds"}

NEAREST: dict[str, Any] = {"lookup": "nearest", "first_key": "learned", "score_against": "followed"}
"""The lookup as it was published: at each decision the nearest of all frames, by one key."""
PAPER: dict[str, Any] = {
    **NEAREST,
    "encoder": "resnet18",
    "pooling": "average",
    "crop_scale": 0.9,
    "shift": 0,
    "temperature": 0.4,
    "appearance": 0.0,
    "train_steps": None,
    "epochs": 40,
    "batch_size": 32,
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "schedule": "constant",
    "gamma": 0.5,
}
PRESETS: dict[str, dict[str, Any]] = {
    "small": {},
    "nearest": NEAREST,
    "published": {**PAPER, "norm": "batch", "action_horizon": 30},
    "paper": PAPER,
    "compact": {**PAPER, "width": 0.5, "weight_precision": "float16", "key_precision": "float16"},
}
