"""The config of fisher, and its presets."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from altbench_policies.control import ControlSpec
from altbench_policies.lookup.flag import FLAG_FIELDS, FlagSpec


class FisherSpec(ControlSpec, FlagSpec):
    """Config of fisher; see also ControlSpec and FlagSpec, whose `gamma` is 1 − a score.

    `action_horizon`: Ta, the actions that are executed before the next decision.
    `cameras`: which views choose the demonstration (empty: the task's first, which
    stands still). `pool`: side of the squares of pixels that images are averaged over.
    `align_view`: whether an image whose background does not fit is first moved until it
    does. `align_colours`: whether it is given the demonstrations' colours.

    `frames`: length of a phase. `phases`: how many are looked at; afterwards a policy
    follows its demonstration by the pose alone. `regularisation`: what is added to the
    variance within a demonstration, in units of white².

    `reach`: how many frames before and after the expected one the nearest pose is
    sought. `margin`: a demonstration that no longer fits is left for one whose distance
    is less than this share of its own (0: never).
    """

    cameras: tuple[str, ...] = ()
    action_horizon: int = Field(default=8, ge=1)
    pool: int = Field(default=1, ge=1)
    align_view: bool = True
    align_colours: bool = True
    frames: int = Field(default=10, ge=1)
    phases: int = Field(default=4, ge=1)
    regularisation: float = Field(default=1e-4, gt=0)
    reach: int = Field(default=4, ge=0)
    margin: float = Field(default=0.7, ge=0, le=1)


RUNTIME_FIELDS = FLAG_FIELDS | {"reach", "margin"}

PRESETS: dict[str, dict[str, Any]] = {"small": {}, "pooled": {"pool": 4, "phases": 1}}
