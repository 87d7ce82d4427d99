"""What fitting ALT+ makes, and what follows from it: how far corrections reach, and what is familiar."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from altbench.api import DELTA_ACTION_DIM, POSE_ACTION_DIM, Float32
from altbench_policies.alt_plus.config import AltPlusSpec
from altbench_policies.bc.policy import ChunkRegressor
from altbench_policies.checkpoint import numpy_of
from altbench_policies.lookup.first_key import FirstKey
from altbench_policies.lookup.table import Table, first_frame_scores


@dataclass(frozen=True)
class Fitted:
    """What fitting makes, and what follows from it.

    `predicted`: the regressor's chunks at the table's N frames, float32 (N, Ta, Da), in the
    task's units. `calibration_scores`: float32, one per demonstration. `familiar_limit`: the
    score up to which an episode's first image is familiar (inf: every image is).
    `shrinkage_unit`: the unit of `shrinkage`, in half the demonstrations' range.
    `first_key`: finds the demonstration to follow, if the config asks for one.
    """

    network: ChunkRegressor
    table: Table
    predicted: Float32
    calibration_scores: Float32
    familiar_limit: float
    shrinkage_unit: float
    first_key: FirstKey | None = None

    @classmethod
    def of(
        cls, config: AltPlusSpec, network: ChunkRegressor, table: Table, predicted: Float32, calibration_scores: Float32
    ) -> Self:
        """Add what follows from the others, as far as `config` uses it."""
        limit = math.inf if config.familiar is None else familiar_limit(first_frame_scores(table), config.familiar)
        width = POSE_ACTION_DIM if config.control_mode == "ee_pose" else DELTA_ACTION_DIM
        unit = usual_miss(network, table, predicted, width) if config.shrinkage_unit == "miss" else 1.0
        first = None
        if config.first_key == "whitened":
            first = FirstKey.whitened(table.keys, table.demonstrated, config.first_frames, config.whitening)
        return cls(network, table, predicted, calibration_scores, limit, unit, first)


def largest_move(change: Float32, half_range: Float32, width: int = POSE_ACTION_DIM) -> Float32:
    """Return the largest change of a position in chunks (B, Ta, Da): (B,).

    An arm's action has `width` numbers and begins with its position. The change is in
    units of `half_range` (Da,), and the largest over steps and arms.
    """
    inverse = np.divide(1, half_range, out=np.zeros_like(half_range), where=half_range > 0)
    by_arm = np.abs(change * inverse).reshape(*change.shape[:2], -1, width)
    moved: Float32 = by_arm[..., :3].max(axis=(1, 2, 3))
    return moved


def usual_miss(network: ChunkRegressor, table: Table, predicted: Float32, width: int = POSE_ACTION_DIM) -> float:
    """Return the median error of `predicted` at the table's frames.

    An error is the `largest_move` between predicted and demonstrated chunk. `width`: as
    there.
    """
    shown = table.demonstrated.chunk(np.arange(len(table.demonstrated)), predicted.shape[1])
    return float(np.median(largest_move(predicted - shown, numpy_of(network.action_range.half_range), width)))


def familiar_limit(first_scores: Float32, share: float) -> float:
    """Return the score up to which an episode's first image is familiar.

    A `share` of all pairs of demonstrations have a lower score for each other's first
    images. Without a pair it is inf. Leaving one demonstration out, as the flag does,
    would ask for more if a table has several demonstrations of each pose. Pairs tell
    how different places look, however often each was demonstrated.
    """
    return float(np.quantile(first_scores, share)) if len(first_scores) else math.inf
