"""Checks of a perturbation's arguments and of the images it receives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from altbench.api import ConfigError, ContractError, UInt8, suggestion

MAX_SEVERITY = 5
"""The highest severity of every perturbation, as in ImageNet-C."""


def checked_severity(name: str, severity: Any) -> int:
    """Return `severity` as an int.

    Raises ConfigError unless it is an integer from 0 to 5; True and 3.0 are not
    integers.
    """
    whole = isinstance(severity, (int, np.integer)) and not isinstance(severity, bool)
    if not whole or not 0 <= severity <= MAX_SEVERITY:
        raise ConfigError(
            f"perturbation {name}: severity: expected an integer from 0 to {MAX_SEVERITY}, got {severity!r}"
        )
    return int(severity)


def check_options(name: str, options: Mapping[str, Any], valid: Iterable[str] = ()) -> None:
    """Raise ConfigError for the first unknown option, naming the nearest known one."""
    known = tuple(valid)
    for key in options:
        if key not in known:
            hint = suggestion(key, known) if known else f"; {name} has none"
            raise ConfigError(f"perturbation {name}: unknown option {key!r}{hint}")


def check_image(name: str, image: UInt8) -> None:
    """Raise ContractError unless `image` is uint8 (H, W, 3)."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ContractError(f"perturbation {name}: expected uint8 (H, W, 3), got {image.dtype} {image.shape}")
