"""The rows of E4: ALT's key with other settings, and keys that learn nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from altbench.experiments.shared.sweeps import Preset, row
from altbench.sweeps.spec import PolicyEntry

BASE = "key"
"""The row with ALT's learned key alone, without thumbnails.

Every `key-…` row differs from it in one thing.
"""
RAW = ("key-untrained", "key-concat-untrained", "kdtree")
"""Rows with untrained networks, and with raw pixels."""
FISHER = "fisher"
"""The lookup that trains nothing, which any key must beat to be worth its cost."""
THUMBNAILS = "thumbnails"
"""The row whose key is small grey pictures alone."""
UNLEARNED = (*RAW, THUMBNAILS, FISHER)
"""Rows whose key is not trained."""
LOOKUP = {"lookup": "nearest", "first_key": "learned", "score_against": "followed"}
"""Of every `key-…` row: the nearest of all frames at each decision, so that its one key alone counts."""
NEAR_ALL = 0.999
"""Share of thumbnails in the row `THUMBNAILS`: the setting must stay below 1."""


@dataclass(frozen=True)
class Variant:
    """A row: its label, what it is in words, and its settings beside the preset's.

    `preset`: the row's own; empty: the experiment's.
    """

    label: str
    what: str
    policy: str = "alt"
    config: Mapping[str, Any] = field(default_factory=dict)
    preset: str = ""

    def entry(self, preset: Preset) -> PolicyEntry:
        """Make the row of a sweep."""
        made = row(self.policy, preset, label=self.label, **self.config)
        return made.model_copy(update={"preset": self.preset}) if self.preset else made


def variants(preset: Preset) -> list[Variant]:
    """Return all rows; at `small` the ResNet-18 is a quarter as wide."""
    width = 0.25 if preset == "small" else 1.0
    encoders = {"cnn4": "four-layer CNN", "cnn3": "three-layer CNN", "resnet18": "ResNet-18", "vit": "ViT-Tiny"}
    narrow = {"resnet18": f", width {width:g}"} if width != 1 else {}
    base = "cnn4" if preset == "small" else "resnet18"
    rows = [
        Variant("alt", "the preset as it is", config={}),
        Variant(BASE, f"learned key alone ({encoders[base]}, 128-d)", config=_key()),
    ]
    for name, words in encoders.items():
        if name != base:
            own: dict[str, Any] = {"encoder": name}
            own |= {"width": width} if name == "resnet18" else {}
            own |= {"pooling": "flat"} if preset == "paper" else {}
            rows.append(Variant(f"key-{name}", words + narrow.get(name, ""), config=_key(**own)))
    if preset == "paper":
        imagenet = _key(weights="imagenet", norm="batch")
        rows.append(Variant("key-imagenet", "ResNet-18 from ImageNet, BatchNorm", config=imagenet))
    rows += [Variant(f"key-{size}d", f"embedding of {size}", config=_key(embedding=size)) for size in (64, 256)]
    return [*rows, *_training(preset), *_unlearned()]


def _training(preset: Preset) -> list[Variant]:
    """Return rows with other temperatures and augmentations."""
    taus = (0.05, 0.4) if preset == "small" else (0.05, 0.1)
    rows = [Variant(f"key-tau{tau:g}", f"temperature {tau:g}", config=_key(temperature=tau)) for tau in taus]
    shifts = (0, 4) if preset == "small" else (1, 4)
    rows += [Variant(f"key-shift{n}", f"random shift of {n} pixels", config=_key(shift=n)) for n in shifts]
    strong = dict.fromkeys(("brightness", "contrast", "saturation"), 0.5)
    plain = dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.0)
    rows += [
        Variant("key-colour0", "no colour jitter", config=_key(**plain)),
        Variant("key-colour0.5", "colour jitter 0.5", config=_key(**strong)),
        Variant("key-concat", "views side by side, no linear layer", config=_key(fuse="concat", view_features=0)),
        Variant("key-pose", "with the arm's pose", config=_key(pose=True)),
    ]
    return rows


def _unlearned() -> list[Variant]:
    """Return rows with keys that learn nothing; a learned key must beat them."""
    return [
        Variant("key-untrained", "the same network, untrained", config=_key(train_steps=0)),
        Variant(
            "key-concat-untrained",
            "views side by side, untrained",
            config=_key(fuse="concat", view_features=0, train_steps=0),
        ),
        Variant(THUMBNAILS, "12×12 grey thumbnails alone", config=_key(NEAR_ALL, train_steps=0)),
        Variant("kdtree", "nearest observation, no encoder", policy="kdtree"),
        Variant(FISHER, "pixels weighted by Fisher's criterion, then the pose", policy="fisher", preset="small"),
    ]


def _key(appearance: float = 0.0, **config: Any) -> dict[str, Any]:
    return {"appearance": appearance, **LOOKUP, **config}
