"""Seeds: one root and disjoint streams; no test episode shares a demonstration's."""

from __future__ import annotations

from typing import Literal

import numpy as np

Stream = Literal["demo", "calibrate", "evaluate", "perturb", "policy", "train"]
# All published episodes were drawn with these numbers: add new ones, never renumber.
STREAMS: dict[str, int] = {"demo": 0, "calibrate": 1, "evaluate": 2, "perturb": 3, "policy": 4, "train": 5}


def derive_seed(root: int, stream: Stream, index: int) -> int:
    """Return a 63-bit seed for item `index` of `stream` under `root`."""
    high, low = np.random.SeedSequence([root, STREAMS[stream], index]).generate_state(2, np.uint32)
    return (int(high) << 32 | int(low)) >> 1
