"""Attempts at a demonstration, as those who write an expert want to see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from altbench.core.types import UInt8

SUCCESS = "success"
HORIZON = "the expert reached the horizon"
DIVERGED = "the simulation diverged"


@dataclass(frozen=True)
class Attempt:
    """One attempt at demonstration `index`.

    `number`: counts the attempts at it, from 0; there are at most `most`. `ended`: how
    it ended, such as `SUCCESS`. `observations`: what was seen before each action.
    """

    index: int
    number: int
    most: int
    ended: str
    observations: Sequence[Mapping[str, Any]]

    @property
    def success(self) -> bool:
        """Whether the task was solved."""
        return self.ended == SUCCESS

    @property
    def is_last(self) -> bool:
        """Whether the expert is given up after it, if it failed."""
        return self.number == self.most - 1

    def pixels(self) -> dict[str, UInt8]:
        """Return each camera's images, uint8 (T, H, W, 3)."""
        cameras = self.observations[0]["pixels"]
        return {camera: np.stack([seen["pixels"][camera] for seen in self.observations]) for camera in cameras}


class Watch(Protocol):
    """What is called after each recorded attempt; worker processes get a copy.

    It returns the film's path, if it made one. `each`: whether it needs every attempt
    recorded, also those that fail. Else attempts between the first and the last are
    recorded only if they succeed.
    """

    @property
    def each(self) -> bool: ...

    def __call__(self, attempt: Attempt) -> Path | None: ...
