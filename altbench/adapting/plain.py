"""What is made plain at the end: changes that the evidence does not ask for are dropped."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from altbench.adapters.spec import Adapter
from altbench.adapting import lattice
from altbench.adapting.lattice import Facts
from altbench.core.types import Float64

DECIDED = 1.1
"""A value is decided against another if the other's error is so many times as large."""
PLAIN = 1.02
"""A plainer adapter is taken if its error on the frames of the search is less than so many
times the least one. Less than `DECIDED`, since the error of other frames differs: what is
dropped here must not cost a tenth there. No other value than ours made a sound policy
better, but for the gripper's (results/adapt).
"""
PLAIN_BY_CHANCE = 1.05
"""The same where chance decides more: on fewer than `ENOUGH` frames, as of slow policies, and
where the numbers of the gripper differ. Commands between open and closed tell these
apart: few steps, and each counts much. Sound policies stay below 1.04.
"""
ENOUGH = 48
"""Frames on which a gain of `PLAIN` counts."""
GRIPPER = "actions.gripper"
LEAST_ERROR = 0.1
"""Smaller errors count as this: they are of rounding."""

Error = Callable[[Adapter], Float64 | None]
"""Returns the error (M,) of each frame under an adapter; None if the policy fails under it."""


def plainest(adapter: Adapter, start: Adapter, error: Error) -> Adapter:
    """Return the adapter with the fewest changes from `start` that is as good as `adapter`."""
    differing = lattice.changed(adapter, start)
    best = error(adapter)
    assert best is not None
    for count in range(len(differing)):
        tried = [_reverted(adapter, start, kept, differing) for kept in itertools.combinations(differing, count)]
        errors = [(error(one), one) for one in tried if one is not None]
        good = [
            (float(found.mean()), one)
            for found, one in errors
            if found is not None and is_as_good(found, best, margin(adapter, one, len(best)))
        ]
        if good:
            return min(good, key=lambda pair: pair[0])[1]
    return adapter


def usual(adapter: Adapter, start: Adapter, facts: Facts, error: Error) -> Adapter:
    """Return the adapter with the more usual of two values of actions that are as good."""
    best = error(adapter)
    assert best is not None
    for name in (name for name in lattice.changed(adapter, start) if name.startswith("actions.")):
        own, values = lattice.value_of(adapter, name), lattice.values(name, facts)
        for value in values[: values.index(own)] if own in values else ():
            other = lattice.with_value(adapter, name, value)
            found = None if other is None else error(other)
            if other is not None and found is not None and is_as_good(found, best, margin(adapter, other, len(best))):
                adapter = other
                break
    return adapter


def _reverted(adapter: Adapter, start: Adapter, kept: Sequence[str], differing: Sequence[str]) -> Adapter | None:
    """Return the adapter with all that differs as at the start, but what is `kept`."""
    made: Adapter | None = start
    for name in sorted(kept, key=differing.index):
        made = None if made is None else lattice.with_value(made, name, lattice.value_of(adapter, name))
    return made


def margin(adapter: Adapter, other: Adapter, frames: int) -> float:
    """Return below how many times the error of `adapter` on so many frames a plainer one is as good."""
    alike = lattice.value_of(adapter, GRIPPER) == lattice.value_of(other, GRIPPER)
    return PLAIN if alike and frames >= ENOUGH else PLAIN_BY_CHANCE


def is_as_good(errors: Float64, best: Float64, margin: float) -> bool:
    """Return whether errors (M,) are on average less than `margin` times as large as the best ones."""
    return max(float(errors.mean()), LEAST_ERROR) < margin * max(float(best.mean()), LEAST_ERROR)


def differs(error: float, best: float) -> bool:
    """Return whether an error is at least `DECIDED` times as large as the best one."""
    return max(error, LEAST_ERROR) >= DECIDED * max(best, LEAST_ERROR)
