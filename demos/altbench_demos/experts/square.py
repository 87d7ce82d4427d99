"""The scripted expert for Square: grasp the nut, align it above the peg, lower it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from altbench.api import Float64, TaskEnv
from altbench_demos.experts.pick_and_place import PickAndPlace, Plan
from altbench_demos.experts.waypoints import QUARTER_TURN, UP, nearest_quarter, yaw_of

PEG_TOP = 0.1
"""m: the peg's top above its middle."""
HOVER = PEG_TOP + 0.015
"""m above the peg's middle: where the nut waits until it is aligned."""
ALIGNED, ALIGNED_TURN = 0.004, 0.06
"""m, rad: an aligned nut's error, at most. The hole leaves 7 mm on each side."""
STILL = 0.003
"""m per control step: an aligned nut's speed, at most. A faster one overshoots."""
AROUND = 0.012
"""m from the peg's axis: a nut so near, and under the peg's top, is around the peg."""
SINK = 0.04
"""m ahead: how fast the nut is lowered, slowly enough to stay aligned."""
OUTWARDS = 0.12
"""Where to grasp beyond the handle's middle, as a share of the way from the nut's
middle to it: the peg is at the end of the arm's reach."""


class SquareExpert(PickAndPlace):
    """The `altbench.api.Expert` for Square."""

    floor = 0.82
    carry_height = (0.0, 0.02)
    carry_lead = 1.0

    def __init__(self) -> None:
        super().__init__()
        self._before = np.zeros(2)  # the nut's position one control step ago

    def reset(self, env: TaskEnv, seed: int) -> None:
        """Begin an episode in a style drawn from `seed`."""
        super().reset(env, seed)
        self._before = np.zeros(2)

    def plan(self, poses: Mapping[str, Float64]) -> Plan:
        """Plan from the nut's pose and the positions of its handle and of the peg."""
        nut, handle, peg = poses["nut_position"], poses["handle_position"], poses["peg_position"]
        yaw = yaw_of(poses["nut_quaternion"])
        turn = _turn_onto_peg(yaw)
        moved, self._before = float(np.linalg.norm(nut[:2] - self._before)), nut[:2]
        off = float(np.linalg.norm((nut - peg)[:2]))
        aligned = off < ALIGNED and abs(turn) < ALIGNED_TURN and moved < STILL
        around = off < AROUND and nut[2] < peg[2] + PEG_TOP
        height = nut[2] - peg[2] - SINK if aligned or around else HOVER
        return Plan(
            grasp=handle + OUTWARDS * (handle - nut),
            grasp_yaw=yaw if abs(yaw) < QUARTER_TURN else yaw - np.sign(yaw) * 2 * QUARTER_TURN,
            held=nut,
            goal=peg + height * UP,
            turn=turn,
        )


def _turn_onto_peg(yaw: float) -> float:
    """Return how far (rad) to turn the nut so that it fits onto the peg.

    Its handle must not point away from the robot: there it is out of the arm's reach.
    """
    return -nearest_quarter(yaw) if abs(yaw) > QUARTER_TURN else float(np.copysign(QUARTER_TURN, yaw) - yaw)
