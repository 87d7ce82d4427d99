"""Dynamic time warping as one compiled loop (Sakoe and Chiba 1978, symmetric form). Importing this imports Numba."""

from __future__ import annotations

import numba
import numpy as np

from altbench.core.types import Float64


@numba.njit(cache=True)
def warped_distance(first: Float64, second: Float64) -> float:
    """Mean distance of two point sequences (T1, D) and (T2, D) along the alignment that makes it least, in their unit.

    A diagonal step of the alignment weighs two, the others one, so that every alignment weighs T1 + T2 (section II-B,
    equation 11 without a slope constraint); the sum is divided by that. No window.
    """
    rows, columns = len(first), len(second)
    above = np.full(columns + 1, np.inf)
    above[0] = 0.0
    for i in range(rows):
        row = np.full(columns + 1, np.inf)
        for j in range(columns):
            squares = 0.0
            for k in range(first.shape[1]):
                squares += (first[i, k] - second[j, k]) ** 2
            gap = np.sqrt(squares)
            row[j + 1] = min(above[j] + 2.0 * gap, above[j + 1] + gap, row[j] + gap)
        above = row
    return float(above[columns] / (rows + columns))
