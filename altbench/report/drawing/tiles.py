"""Films side by side: a grid of tiles, each with two lines of text and a coloured frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from altbench.core.types import UInt8
from altbench.report.video import caption

BORDER = 4
"""Width of a tile's frame in pixels."""
PLAIN, FLAGGED = (0, 0, 0), (230, 159, 0)
SUCCESS, FAILURE = (0, 158, 115), (213, 94, 0)
"""Colours of a tile's frame: while it plays, while the policy's flag is up, at its end."""
WIDEST = 1600
"""Width in pixels that a grid of tiles has at most."""


@dataclass(frozen=True)
class Tile:
    """A film, uint8 (T, H, W, 3), with its title, and a text and a frame for each picture."""

    frames: UInt8
    title: str
    texts: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]

    def drawn(self, length: int) -> UInt8:
        """Return the tile as a film of `length` pictures; the last one stands still."""
        more = length - len(self.frames)
        frames = np.concatenate([self.frames, np.repeat(self.frames[-1:], more, axis=0)])
        texts = [*self.texts, *[self.texts[-1]] * more]
        told = caption(caption(frames, texts), self.title)
        colours = np.array([*self.colours, *[self.colours[-1]] * more], np.uint8)
        framed = np.empty((length, told.shape[1] + 2 * BORDER, told.shape[2] + 2 * BORDER, 3), np.uint8)
        framed[:] = colours[:, None, None]
        framed[:, BORDER:-BORDER, BORDER:-BORDER] = told
        return framed


def size_of(columns: int, wanted: int) -> int:
    """Return the width in pixels of a film in a grid of `columns`: at most `wanted`."""
    return min(wanted, WIDEST // columns - 2 * BORDER)


def grid_of(rows: Sequence[Sequence[Tile]]) -> UInt8:
    """Return the tiles as one film, uint8 (T, H, W, 3); a short row is filled with black.

    All tiles have one size. They begin together, and those that have ended wait.
    """
    length, columns = max(len(tile.frames) for row in rows for tile in row), max(map(len, rows))
    lines = []
    for row in rows:
        drawn = [tile.drawn(length) for tile in row]
        drawn += [np.zeros_like(drawn[0])] * (columns - len(drawn))
        lines.append(np.concatenate(drawn, axis=2))
    return np.concatenate(lines, axis=1)


def square(count: int) -> int:
    """Return how many columns a grid of `count` tiles has: as many as rows, or one more."""
    return int(np.ceil(np.sqrt(count)))
