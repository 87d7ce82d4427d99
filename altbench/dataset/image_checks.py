"""Images of demonstrations, compared with what is drawn from their states.

A few frames of a file are drawn. So images that are upside down, of another camera or
of other frames are found, and the render profile of imported ones is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from altbench.core.demonstration import Demonstration, StateViewer
from altbench.core.errors import DatasetError
from altbench.core.types import Float64, UInt8
from altbench.dataset.image_likeness import (
    UNLIKE,
    best_reading,
    correlation,
    distance,
    is_nearer,
    preference,
    standardised,
)

CHECKED = 12
"""Demonstrations of a file that are compared, evenly spread; a frame costs 40 ms."""
FRAMES = 4
"""Frames of each that are drawn."""
FARTHEST_LAG = 5
"""Frames by which images may lag behind their states, or precede them, to be named."""
CLEAR = 0.5
"""The `preference` from which images count as of one render profile."""


class ImagesError(DatasetError):
    """Images that do not show the states beside them."""


@dataclass(frozen=True)
class Compared:
    """Frames of a demonstration: `found` and `drawn` images, camera -> (F, H, W, 3)."""

    index: int
    frames: Sequence[int]
    found: Mapping[str, UInt8]
    drawn: Mapping[str, UInt8]


class ImageCheck:
    """A comparison of a file's images with its states, demonstration by demonstration.

    `episodes`: how many there are. `advice`: what to do about wrong images, in words.
    """

    def __init__(self, viewer: StateViewer, episodes: int, advice: str) -> None:
        self._viewer, self._advice = viewer, advice
        self._chosen = set(np.linspace(0, episodes - 1, min(CHECKED, episodes)).round().astype(int).tolist())
        self.compared: list[tuple[Demonstration, Compared]] = []

    def look(self, demonstration: Demonstration) -> None:
        """Compare a demonstration if it is one of those to compare, or the first.

        ImagesError if another reading of its images fits its states better, or none.
        """
        if demonstration.index not in self._chosen and self.compared:
            return
        frames = np.linspace(0, len(demonstration) - 1, FRAMES + 2).round().astype(int)[1:-1].tolist()
        made = _compared(self._viewer, demonstration, frames)
        wrong = [_fault(camera, made, demonstration) for camera in made.found]
        if any(wrong):
            faults = ", and ".join(filter(None, wrong))
            raise ImagesError(
                f"demonstration {made.index}: expected images of the recorded states, but {faults}; {self._advice}"
            )
        self.compared.append((demonstration, made))

    @property
    def images(self) -> int:
        """How many images were compared."""
        return sum(len(made.frames) * len(made.found) for _, made in self.compared)

    def finish(self) -> None:
        """Raise ImagesError if the images are those of other states of the file."""
        pairs = [(made, number) for _, made in self.compared for number in range(len(made.frames))]
        found, drawn = ([self._one(made, number, side) for made, number in pairs] for side in ("found", "drawn"))
        elsewhere = [(row, _nearer_to_another(found[row], drawn, row)) for row in range(len(pairs))]
        strayed = [(row, other) for row, other in elsewhere if other is not None]
        if 2 * len(strayed) > len(pairs):
            (a, b), (c, d) = (_name(pairs[number]) for number in strayed[0])
            raise ImagesError(
                f"the images are of other states: that of demonstration {a}, frame {b} shows the state of demonstration "
                f"{c}, frame {d}; {self._advice}"
            )

    def profile(self, others: Mapping[str, StateViewer]) -> str:
        """Return the render profile of the compared images; "unknown" if none is clear.

        `others`: profile -> a viewer that draws in it; the check's own draws in "fast".
        """
        demonstration, made = self.compared[0]
        if all(np.array_equal(made.found[camera], made.drawn[camera]) for camera in made.found):
            return "fast"
        found, fast = (_stacked(images) for images in (made.found, made.drawn))
        for name, viewer in others.items():
            other = _stacked(_compared(viewer, demonstration, made.frames).drawn)
            # Images farther from both than these are from each other are of neither.
            apart, nearest = distance(fast, other), min(distance(found, fast), distance(found, other))
            clear = preference(found, fast, other)
            if nearest <= apart and abs(clear) > CLEAR:
                return name if clear > 0 else "fast"
        return "unknown"

    @staticmethod
    def _one(made: Compared, number: int, side: str) -> Float64:
        images: Mapping[str, UInt8] = getattr(made, side)
        return np.concatenate([standardised(images[camera][number : number + 1]).ravel() for camera in images])


def _compared(viewer: StateViewer, demonstration: Demonstration, frames: Sequence[int]) -> Compared:
    """Draw `frames` of a demonstration, in the size of its images."""
    size = next(iter(demonstration.pixels.values())).shape[1:3]
    pose = demonstration.initial_state.object_pose
    views = [viewer.look(demonstration.states[t], (int(size[0]), int(size[1])), pose).pixels for t in frames]
    drawn = {camera: np.stack([view[camera] for view in views]) for camera in demonstration.pixels}
    found = {camera: images[list(frames)] for camera, images in demonstration.pixels.items()}
    return Compared(demonstration.index, frames, found, drawn)


def _fault(camera: str, made: Compared, demonstration: Demonstration) -> str:
    """Say what is wrong with a camera's images; empty if nothing is."""
    best = best_reading(camera, made.found, made.drawn[camera])
    if is_nearer(standardised(made.drawn[camera]), standardised(made.found[camera]), best.images):
        return f"those of {camera} fit better read {best.words}"
    return _wrong_time(camera, made, demonstration) or _unlike(camera, made)


def _wrong_time(camera: str, made: Compared, demonstration: Demonstration) -> str:
    """Say by how many frames a camera's images lag; empty if they do not."""
    target, own = standardised(made.drawn[camera]), standardised(made.found[camera])
    images, last, rows = demonstration.pixels[camera], len(demonstration) - 1, np.asarray(made.frames)
    best, apart = 0, distance(own, target)
    for lag in sorted(range(-FARTHEST_LAG, FARTHEST_LAG + 1), key=abs):
        read = standardised(images[np.clip(rows + lag, 0, last)])
        if distance(read, target) < apart and is_nearer(target, own, read):
            best, apart = lag, distance(read, target)
    if best == 0:
        return ""
    frames = f"{abs(best)} frame{'s' if abs(best) > 1 else ''}"
    return f"those of {camera} are {frames} {'behind' if best > 0 else 'ahead of'} them"


def _unlike(camera: str, made: Compared) -> str:
    """Say that a camera's images are not like the drawn ones; empty if they are."""
    alike = correlation(standardised(made.found[camera]), standardised(made.drawn[camera]))
    if alike >= UNLIKE:
        return ""
    return f"those of {camera} are not like what is drawn (correlation {alike:.2f}, expected {UNLIKE} or more)"


def _nearer_to_another(found: Float64, drawn: Sequence[Float64], own: int) -> int | None:
    """Return which of the `drawn` images `found` shows in place of its own; None: none."""
    nearest = min(range(len(drawn)), key=lambda other: (distance(found, drawn[other]), other != own))
    return nearest if is_nearer(found, drawn[own], drawn[nearest]) else None


def _name(pair: tuple[Compared, int]) -> tuple[int, int]:
    made, number = pair
    return made.index, made.frames[number]


def _stacked(images: Mapping[str, UInt8]) -> Float64:
    """Return all pixels of all cameras, as numbers."""
    return np.concatenate([np.asarray(images[camera], np.float64).ravel() for camera in sorted(images)])
