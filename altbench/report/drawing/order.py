"""One order of tasks and policies, for every figure and table."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from altbench.core import registry
from altbench.core.spec import read_toml

STYLES = Path(__file__).parents[1] / "styles.toml"
"""The built-in policies' styles, in the order of all figures: a file, because code here
names no policy.
"""


@cache
def known_styles() -> dict[str, tuple[str, str]]:
    """Return the colour and the marker of each label of `STYLES`, in its order."""
    return {label: (colour, marker) for label, (colour, marker) in read_toml(STYLES).items()}


def tasks_in_order(names: Iterable[str]) -> list[str]:
    """Return the tasks once each: built-in ones as the registry lists them, then others."""
    known = {name: i for i, name in enumerate(registry.BUILT_IN["task"])}
    return sorted(set(names), key=lambda name: (known.get(name, len(known)), name))


def labels_in_order(labels: Iterable[str]) -> list[str]:
    """Return the labels once each, in the order of styles.toml.

    A variant such as `alt-hold` follows the policy that its name begins with. Labels
    without a policy come last but for the control, which is the very last.
    """
    return sorted(set(labels), key=label_place)


def label_place(label: str) -> tuple[int, str]:
    """Return what sorts labels as `labels_in_order`."""
    known = list(known_styles())
    base = base_of(label)
    # Before `random` and the control, which stand last in the file.
    return (2 * (len(known) - 2) - 1 if base is None else 2 * known.index(base)), label


def base_of(label: str) -> str | None:
    """Return the policy of styles.toml whose variant `label` is: `alt` of `alt-hold`; None if of none."""
    bases = [name for name in known_styles() if re.match(rf"{re.escape(name)}(?![a-z0-9])", label)]
    return max(bases, key=len, default=None)


def row_place(value: object) -> tuple[int, int, str]:
    """Return what sorts one name of a table's row: tasks, then policies, numbers by size."""
    if isinstance(value, str):
        tasks = list(registry.BUILT_IN["task"])
        place, text = (tasks.index(value), "") if value in tasks else label_place(value)
        return 1, place, text
    return 0, int(value) if isinstance(value, int) else 0, str(value)
