"""Dynamic time warping as one compiled loop (Sakoe and Chiba 1978, symmetric form).

A module of its own, because importing it imports Numba.
"""

from __future__ import annotations

import numba
import numpy as np

from altbench.core.types import Float64


@numba.njit(cache=True)
def warped_distance(first: Float64, second: Float64) -> float:
    """Return the mean distance of point sequences (T1, D) and (T2, D), in their unit.

    It is taken along the alignment that makes it smallest. A diagonal step of the
    alignment weighs two, any other step one, so that every alignment weighs T1 + T2
    (section II-B, equation 11 without a slope constraint). The sum is divided by this
    weight. There is no window.
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
