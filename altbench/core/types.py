"""The array types, names of modes and sizes of vectors that every contract uses.

B is the number of slots in a batch, To the observation horizon, Tp the prediction horizon, Ta the executed action
horizon, Da the action's and Dp the proprioception's length. Everything at the border is numpy: no torch, no simulator.
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

POSE_ACTION_DIM = 10  # position (3), rot6d (6), gripper (1), per arm
DELTA_ACTION_DIM = 7  # robosuite's OSC_POSE: position (3), rotation vector (3), gripper (1), per arm
AGENT_POS_DIM = 11  # position (3), rot6d (6), finger positions (2), per arm


class Progress(Protocol):
    """How long work reports: `done` of `total` steps and the latest metrics (loss, ...)."""

    def __call__(self, done: int, total: int, metrics: Mapping[str, float]) -> None: ...


def no_progress(done: int, total: int, metrics: Mapping[str, float]) -> None:
    """A `Progress` that says nothing."""
