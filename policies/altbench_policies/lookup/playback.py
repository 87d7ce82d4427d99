"""What a slot executes of a demonstration that is played to its end."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Playback:
    """What a slot executes.

    `demonstration`: its place in the library (−1: not chosen yet). `step`: the steps
    executed. `distance`: how far its first frame, or its first state, was.
    """

    demonstration: int = -1
    step: int = 0
    distance: float = 0.0
