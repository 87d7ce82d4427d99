"""Regressor: ALT+'s network alone, without its lookup. What the lookup adds is the difference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from altbench.api import (
    Decision,
    Demonstration,
    FitContext,
    Footprint,
    Observation,
    Requirements,
    TaskInfo,
    Trainable,
    added,
    changed,
)
from altbench_policies.alt_plus.config import PRESETS as ALT_PLUS
from altbench_policies.bc import BehaviourCloning, BehaviourCloningSpec
from altbench_policies.chunk_policy import LEAST_EPOCHS


class RegressorSpec(BehaviourCloningSpec):
    """Config of regressor: bc's, with the defaults of ALT+'s network."""

    hidden: tuple[int, ...] = (256, 128)
    obs_horizon: int = Field(default=1, ge=1)
    share_encoder: bool = True
    view_features: int = Field(default=0, ge=0)
    ema_power: float = Field(default=0.75, ge=0, lt=1)
    train_steps: int | None = changed(None, formerly=3000, ge=0)
    epochs: float = Field(default=100, ge=0)
    min_steps: int = added(3000, formerly=0, ge=0)


def _own(preset: dict[str, Any]) -> dict[str, Any]:
    """Return those settings of a preset of ALT+ that its network has."""
    return {name: value for name, value in preset.items() if name in RegressorSpec.model_fields}


PRESETS = {name: _own(preset) for name, preset in ALT_PLUS.items() if name == "small" or _own(preset)}
"""A preset of ALT+ that differs in the lookup alone is no other network."""


class Regressor(Trainable[RegressorSpec]):
    """The chunk that ALT+'s network predicts here, executed as it is."""

    name: ClassVar[str] = "regressor"
    version: ClassVar[int] = 1
    presets: ClassVar = PRESETS
    runtime_fields = BehaviourCloning.runtime_fields
    least_epochs: ClassVar[float] = LEAST_EPOCHS

    def __init__(self, task: TaskInfo, config: RegressorSpec) -> None:
        super().__init__(task, config)
        self.regressor = BehaviourCloning(task, config)

    @property
    def requirements(self) -> Requirements:
        """What the network needs."""
        return self.regressor.requirements

    def fit(self, demonstrations: Sequence[Demonstration], context: FitContext) -> None:
        """Train the network as ALT+ trains it."""
        self.regressor.fit(demonstrations, context)

    def save(self, folder: Path) -> None:
        """Write the network."""
        self.regressor.save(folder)

    def load(self, folder: Path, device: str = "cpu") -> None:
        """Read what `save` wrote.

        Raises CheckpointError if it is damaged or of another config.
        """
        self.regressor.load(folder, device)

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Begin the slots; nothing is random, and nothing is kept between decisions."""
        self.regressor.reset(slots, seeds)

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        """Return chunks (B, Ta, Da)."""
        return self.regressor.act(observation, slots)

    def footprint(self) -> Footprint:
        """Return the bytes of the network."""
        return self.regressor.footprint()
