"""The statistics of LeRobot's data sets, by which its policies normalise.

Source: lerobot 0.6.1, `datasets/compute_stats.py`: per feature minimum, maximum, mean,
standard deviation, count and five quantiles. Those of the whole follow from those of
the episodes, quantiles as weighted means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)

Stats = dict[str, NDArray[Any]]


def of_images(images: NDArray[np.uint8]) -> Stats:
    """Return the statistics (3, 1, 1) of images (T, H, W, 3), in [0, 1] per channel."""
    found = _of_rows(images.reshape(-1, 3) / 255.0, len(images))
    return {name: values if name == "count" else values.reshape(3, 1, 1) for name, values in found.items()}


def of_values(values: NDArray[Any]) -> Stats:
    """Return the statistics (D,) of numbers (T, D), or (1,) of numbers (T,)."""
    return _of_rows(values.reshape(len(values), -1).astype(np.float64), len(values))


def _of_rows(rows: NDArray[np.float64], count: int) -> Stats:
    found: Stats = {
        "min": rows.min(axis=0),
        "max": rows.max(axis=0),
        "mean": rows.mean(axis=0),
        "std": rows.std(axis=0),
        "count": np.array([count]),
    }
    quantiles = np.quantile(rows, QUANTILES, axis=0)
    return found | {f"q{round(100 * q):02d}": values for q, values in zip(QUANTILES, quantiles, strict=True)}


def together(episodes: Sequence[Stats]) -> Stats:
    """Return the statistics of one feature over all episodes."""
    counts = np.concatenate([each["count"] for each in episodes])
    weights = counts / counts.sum()

    def mean_of(values: Sequence[NDArray[Any]]) -> NDArray[Any]:
        averaged: NDArray[Any] = np.tensordot(weights, np.stack(values), axes=1)
        return averaged

    mean = mean_of([each["mean"] for each in episodes])
    variance = mean_of([each["std"] ** 2 + (each["mean"] - mean) ** 2 for each in episodes])
    return {
        "min": np.min([each["min"] for each in episodes], axis=0),
        "max": np.max([each["max"] for each in episodes], axis=0),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": counts.sum(keepdims=True),
        **{name: mean_of([each[name] for each in episodes]) for name in episodes[0] if name.startswith("q")},
    }


def as_json(stats: Mapping[str, Stats]) -> dict[str, dict[str, Any]]:
    """Return statistics as lists, for JSON and for tables."""
    return {key: {name: values.tolist() for name, values in found.items()} for key, found in stats.items()}
