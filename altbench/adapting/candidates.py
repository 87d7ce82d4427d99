"""The adapters that a search tries: other images, other proprioception, and both together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from altbench.adapters.spec import Adapter
from altbench.adapters.state import length
from altbench.adapting import lattice
from altbench.adapting.asking import question
from altbench.adapting.lattice import Facts

IMAGES = ("images.order", "images.flip_vertical", "images.flip_horizontal", "cameras", "images.range")
"""The conventions of images that are tried in all combinations."""
LAYOUT = ("state.order", "state.rotation", "state.fingers")
"""The conventions of proprioception that decide its length."""
UNITS = ("state.unit", "state.frame", "state.tool")
"""The conventions of proprioception besides its layout."""
FEW_CHANGES = 3
"""All combinations with up to so many changes are tried together."""


def images(start: Adapter, facts: Facts) -> list[Adapter]:
    """Return `start` with all combinations of conventions of images."""
    if not facts.own:
        return [start]
    chosen = itertools.product(*(lattice.values(name, facts) for name in IMAGES))
    return [with_values(start, dict(zip(IMAGES, values, strict=True))) for values in chosen]


def neighbours(start: Adapter, facts: Facts) -> list[Adapter]:
    """Return adapters that differ from `start` in one convention of images."""
    single = [(name, v) for name in IMAGES for v in lattice.values(name, facts)] if facts.own else []
    return [with_values(start, {name: value}) for name, value in single]


def states(start: Adapter) -> list[Adapter]:
    """Return `start` with proprioception of the same length, laid out in other ways."""
    own = start.state
    kept = {"unit": own.unit, "frame": own.frame, "tool": own.tool}
    return [
        start.model_copy(update={"state": one.model_copy(update=kept)}) for one in lattice.state_layouts(length(own))
    ]


def units(start: Adapter, facts: Facts) -> list[Adapter]:
    """Return `start` with proprioception in other units and frames."""
    chosen = itertools.product(*(lattice.values(name, facts) for name in UNITS))
    found = [with_values(start, dict(zip(UNITS, values, strict=True))) for values in chosen]
    return unique(found)


def proprioception(start: Adapter, facts: Facts) -> list[Adapter]:
    """Return `start` with all layouts in all units and frames."""
    return [found for one in states(start) for found in units(one, facts)]


def unique(candidates: Sequence[Adapter]) -> list[Adapter]:
    """Return candidates that show the policy different things, the first of each kind."""
    found: dict[str, Adapter] = {}
    for one in candidates:
        found.setdefault(question(one), one)
    return list(found.values())


@dataclass(frozen=True)
class _Shown:
    """One side of a combination, and in how many conventions it is not ours."""

    adapter: Adapter
    changes: int


def together(start: Adapter, facts: Facts, most: int) -> Iterator[list[Adapter]]:
    """Yield combinations of images and proprioception, the fewest changes first, up to `most` at once.

    All with up to `FEW_CHANGES` changes from our conventions are among them. Of the
    others, images go with other units or with another layout, or both of these without
    other images: few policies differ in so much.
    """
    ours = lattice.ours(facts)
    shown = [_Shown(one, _count(one, ours, IMAGES)) for one in images(start, facts)]
    found: list[tuple[int, Adapter]] = []
    for pose in proprioception(start, facts):
        layout, unit = _count(pose, ours, LAYOUT), _count(pose, ours, UNITS)
        for image in shown:
            changes = image.changes + layout + unit
            if changes <= FEW_CHANGES or not (image.changes and layout and unit):
                found.append((changes, image.adapter.model_copy(update={"state": pose.state})))
    found.sort(key=lambda one: one[0])
    for begin in range(0, len(found), most):
        yield [one for _, one in found[begin : begin + most]]


def _count(adapter: Adapter, ours: Adapter, names: Sequence[str]) -> int:
    return sum(lattice.value_of(adapter, name) != lattice.value_of(ours, name) for name in names)


def with_values(adapter: Adapter, values: dict[str, Any]) -> Adapter:
    """Return an adapter with other values of some conventions, as far as it can have them."""
    for name, value in values.items():
        adapter = lattice.with_value(adapter, name, value) or adapter
    return adapter
