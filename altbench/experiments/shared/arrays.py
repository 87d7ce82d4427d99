"""Files of plain arrays: what experiments compute besides cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from altbench.system.files import replacing


def write_arrays(path: Path, **arrays: ArrayLike) -> None:
    """Write named arrays as one npz file, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **{name: np.asarray(array) for name, array in arrays.items()})


def read_arrays(path: Path) -> dict[str, NDArray[Any]] | None:
    """Return the arrays of a file by name, or None if it is missing."""
    if not path.is_file():
        return None
    # Without pickle, a file from elsewhere can hold numbers but no code.
    with np.load(path, allow_pickle=False) as found:
        return dict(found)
