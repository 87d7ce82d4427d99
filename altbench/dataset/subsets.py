"""Nested subsets of demonstrations: 10 are part of 30, 30 of 60."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from altbench.core.errors import ConfigError, DatasetError


class Placed(Protocol):
    """What the order of demonstrations depends on: a `Demonstration`, or less."""

    @property
    def index(self) -> int:
        """The number in the file."""
        ...

    @property
    def grid_index(self) -> int:
        """The pose on the grid; -1 if it is not on the grid."""
        ...


AnyPlaced = TypeVar("AnyPlaced", bound=Placed)


def subset(demonstrations: Sequence[AnyPlaced], n: int, grid_size: int, seed: int) -> tuple[AnyPlaced, ...]:
    """Return the first `n` demonstrations in an order drawn from `seed`.

    The order does not depend on `n`, so that subsets are nested. It goes pass after
    pass over the grid, each pass in its own order: every grid pose comes once before
    any comes again. Demonstrations off the grid follow, in a drawn order. DatasetError
    if there are fewer than `n`.
    """
    if n < 1:
        raise ConfigError(f"expected a number of demonstrations of at least 1, got {n}")
    if n > len(demonstrations):
        more = f"`altbench demos collect` with --n {n} and --out with their file adds the missing ones"
        raise DatasetError(f"expected at least {n} demonstrations, got {len(demonstrations)}; {more}")
    return tuple(_order(demonstrations, grid_size, seed)[:n])


@dataclass(frozen=True)
class _Collected:
    """A demonstration of a file on the grid: demonstrations are collected in the grid's order."""

    index: int
    grid_index: int


def collected_order(n: int, collected: int, grid_size: int, seed: int) -> tuple[int, ...]:
    """Return the numbers of the `n` demonstrations that `subset` returns of a collected file.

    It needs no file: one that is collected on the grid has demonstration i at the pose
    i % grid_size. `collected`: how many the file holds; one that ends within a pass
    over the grid has another order than one that goes on.
    """
    file = [_Collected(i, i % grid_size) for i in range(collected)]
    return tuple(d.index for d in subset(file, n, grid_size, seed))


def _order(demonstrations: Sequence[AnyPlaced], grid_size: int, seed: int) -> list[AnyPlaced]:
    by_index = sorted(demonstrations, key=lambda d: d.index)
    off_grid = [d for d in by_index if d.grid_index < 0]
    seen: Counter[int] = Counter()
    keys: dict[int, tuple[float, int]] = {d.index: (np.inf, _draw(seed, d.index)) for d in off_grid}
    for d in by_index:
        if d.grid_index >= grid_size:
            raise DatasetError(f"demonstration {d.index}: expected a grid index below {grid_size}, got {d.grid_index}")
        if d.grid_index >= 0:
            grid_pass = seen[d.grid_index]
            keys[d.index] = (grid_pass, _permutation(grid_size, seed, grid_pass + 1)[d.grid_index])
            seen[d.grid_index] += 1
    return sorted(by_index, key=lambda d: keys[d.index])


def _draw(seed: int, index: int) -> int:
    """Draw the sort key of demonstration `index`, off the grid."""
    # Drawn for each index alone: a permutation of all would change when the file grows.
    return int(np.random.SeedSequence([seed, 0, index]).generate_state(1, np.uint64)[0])


def _permutation(length: int, seed: int, stream: int) -> list[int]:
    permuted: list[int] = np.random.default_rng(np.random.SeedSequence([seed, stream])).permutation(length).tolist()
    return permuted
