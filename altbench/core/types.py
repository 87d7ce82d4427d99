"""The array types, mode names and vector sizes that every contract uses.

B is the number of slots in a batch, To the observation horizon, Tp the prediction
horizon, Ta the executed action horizon, Da the length of an action, and Dp the length
of the proprioception. Everything in the contracts is numpy: no torch, no simulator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

ControlMode = Literal["ee_pose", "ee_delta"]
ObsType = Literal["pixels", "state"]
RenderProfile = Literal["fast", "robosuite"]

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
UInt8 = NDArray[np.uint8]
Int64 = NDArray[np.int64]

POSE_ACTION_DIM = 10
"""The length of one arm's pose action: position (3), rot6d (6), gripper (1)."""
DELTA_ACTION_DIM = 7
"""The length of one arm's delta action, robosuite's OSC_POSE.

Position (3), rotation vector (3), gripper (1).
"""
AGENT_POS_DIM = 11
"""The length of one arm's proprioception: position (3), rot6d (6), fingers (2)."""


class Progress(Protocol):
    """A callback of long work: `done` of `total` steps, and the latest metrics."""

    def __call__(self, done: int, total: int, metrics: Mapping[str, float]) -> None: ...


def no_progress(done: int, total: int, metrics: Mapping[str, float]) -> None:
    """Ignore progress: a `Progress` for callers that do not need it."""
