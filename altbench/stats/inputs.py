"""What statistics take: counts, numbers and outcomes, in every form that pandas and NumPy give.

A missing value (NaN, None, NA) is refused by name: it would pass through arithmetic
unseen, or be taken for a success.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from altbench.core.types import Float64, Int64

EXACT = 2**53
"""The largest size up to which float64 holds every whole number."""


def number(value: Any, name: str) -> float:
    """Return one number as a float; ValueError, which names it, if it is missing."""
    single = _single(value)
    found = float(single) if isinstance(single, float) else float(numbers_or_missing([single], name)[0])
    if math.isnan(found):
        raise ValueError(f"{name}: expected a number, got {single!r}")
    return found


def whole(value: Any, name: str) -> int:
    """Return one whole number as Python's integer, which no sum overflows.

    ValueError, which names it, for any other value.
    """
    single = _single(value)
    if isinstance(single, int | np.integer | np.bool_):
        return int(single)
    found = number(single, name)
    if not math.isfinite(found) or found != int(found):
        raise ValueError(f"{name}: expected a whole number, got {single!r}")
    return int(found)


def count(value: Any, name: str) -> int:
    """Return one number of things, as `whole`; ValueError if it is negative."""
    found = whole(value, name)
    if found < 0:
        raise ValueError(f"{name}: expected a count from 0, got {found}")
    return found


def share(value: Any, name: str) -> float:
    """Return one number between 0 and 1, both excluded; ValueError for any other."""
    found = number(value, name)
    if not 0 < found < 1:
        raise ValueError(f"{name}: expected a number between 0 and 1, got {found:g}")
    return found


def numbers(values: ArrayLike, name: str) -> Float64:
    """Return the values as float64 (n,); ValueError if one is missing."""
    found = numbers_or_missing(values, name)
    missing = np.flatnonzero(np.isnan(found))
    if missing.size:
        raise ValueError(f"{name}: expected numbers, but {missing.size} of {found.size} are missing (NaN, None or NA)")
    return found


def wholes(values: ArrayLike, name: str) -> Int64:
    """Return the values as int64 (n,); ValueError if one is missing or not whole."""
    found = numbers(values, name)
    wrong = found[(found != np.floor(found)) | (np.abs(found) > EXACT)]
    if wrong.size:
        raise ValueError(f"{name}: expected whole numbers, got {wrong[0]:g}")
    return found.astype(np.int64)


def numbers_or_missing(values: ArrayLike, name: str) -> Float64:
    """Return the values as float64 (n,), with NaN for None and NA."""
    given: Any = values if isinstance(values, pd.Series | pd.Index | np.ndarray | list | tuple) else _listed(values)
    if isinstance(given, np.ndarray) and given.dtype in (np.float64, np.int64):
        return given.ravel().astype(np.float64)
    try:
        flat = given.ravel() if isinstance(given, np.ndarray) else given
        made = pd.Series(flat, dtype="Float64").to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: expected numbers, got {str(given)[:60]!r} ({error})") from None
    return np.asarray(made, np.float64)


def outcomes(values: pd.Series[Any], name: str) -> pd.Series[bool]:
    """Return a column of outcomes (true, false, 1, 0) as bool, with its index.

    ValueError if one is missing or anything else, such as the text "False".
    """
    if values.dtype != bool:
        found = values.to_numpy(object)
        wrong = [one for one in found if not isinstance(one, bool | np.bool_ | int | np.integer | float | np.floating)]
        wrong += [one for one in found if not wrong and one not in (0, 1)]
        if wrong:
            raise ValueError(f"column {name}: expected true or false in every row, got {wrong[0]!r}")
    return values.astype(bool)


def _single(value: Any) -> Any:
    """Return a scalar; that of an array or column of one element is its element."""
    if isinstance(value, np.ndarray | pd.Series | pd.Index) and value.size == 1:
        return value.item()
    return value


def _listed(values: Any) -> list[Any]:
    return list(values) if isinstance(values, Iterable) else [values]
