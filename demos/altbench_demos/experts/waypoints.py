"""Parts that scripted experts share: short steps, a funnel above a target, styles.

Each action lies a bounded step ahead of the present pose. So it depends on the present
observation and not on a clock, and a policy can learn when to do what. The controller's
gains turn the step's length into a speed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from altbench.api import Float32, Float64

DOWN = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
"""The grip site's rotation when it points down with yaw 0."""
UP = np.array([0.0, 0.0, 1.0])
"""The world's upward direction."""
QUARTER_TURN = np.pi / 2
"""rad: 90 degrees."""
OPEN, CLOSED = -1.0, 1.0
"""Gripper commands of an action."""
CLOSE_TOLERANCE = 0.01
"""m: how near to the grasp the gripper closes."""
LEAD = 3.0
"""How far past the target to aim, as a multiple of the present error. With 1 the
controller would creep over the last centimetre."""
TURN_STEP = 0.2
"""rad: how far ahead of the present orientation to aim."""
CLOSE_STEPS = 6
"""Control steps that the fingers need to close firmly."""
LOST = 0.03
"""m: an object that has moved so far within the closed gripper has slipped out."""


@dataclass(frozen=True)
class Style:
    """A demonstration's style, which makes it differ from others of the same pose.

    `step`: m ahead of the present position. `height`: m above the target until it is
    over it. `slope`: m of height per m of horizontal error, the funnel of the descent.
    """

    step: float
    height: float
    slope: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Style:
        """Draw speed, approach height and steepness of the descent."""
        return cls(rng.uniform(0.035, 0.045), rng.uniform(0.05, 0.09), rng.uniform(2.0, 4.0))

    def funnel(self, position: Float64, target: Float64) -> Float64:
        """Return the point to head for from `position` (3,): above the target (3,).

        The nearer the position, the lower the point.
        """
        error = float(np.linalg.norm((position - target)[:2]))
        height = min(self.height, self.slope * max(0.0, error - CLOSE_TOLERANCE))
        return np.asarray(target + height * UP)

    def ahead(self, position: Float64, target: Float64, floor: float, lead: float = LEAD) -> Float64:
        """Return the next position (3,) towards `target`, never under `floor` (m)."""
        return np.maximum(position + limited(lead * (target - position), self.step), [-np.inf, -np.inf, floor])


def limited(vector: Float64, length: float) -> Float64:
    """Return `vector`, shortened to `length` if it is longer."""
    return vector * min(1.0, length / max(float(np.linalg.norm(vector)), 1e-9))


def yaw_of(quaternion: Float64) -> float:
    """Return the angle about z (rad) by which a quaternion (4,) xyzw turns x."""
    x_axis = Rotation.from_quat(quaternion).as_matrix()[:, 0]
    return float(np.arctan2(x_axis[1], x_axis[0]))


def nearest_quarter(yaw: float) -> float:
    """Return `yaw` modulo quarter turns, in [-45°, 45°], for square objects."""
    return float(yaw - QUARTER_TURN * np.round(yaw / QUARTER_TURN))


def pointing_down(yaw: float) -> Rotation:
    """Return the grip site's rotation when it points down.

    The fingers close along the y axis, turned by `yaw` (rad).
    """
    return Rotation.from_euler("z", yaw) * Rotation.from_matrix(DOWN)


def gripper_yaw(quaternion: Float64) -> float:
    """Return the yaw (rad) for which `pointing_down` gives a quaternion (4,) xyzw."""
    return yaw_of((Rotation.from_quat(quaternion) * Rotation.from_matrix(DOWN).inv()).as_quat())


def turned(gripper: Float64, goal: Rotation, step: float = TURN_STEP) -> Float64:
    """Turn the gripper's quaternion (4,) xyzw towards `goal` by at most `step` (rad).

    The result is a rotation matrix (3, 3).
    """
    present = Rotation.from_quat(gripper)
    error = limited((goal * present.inv()).as_rotvec(), step)
    matrix: Float64 = (Rotation.from_rotvec(error) * present).as_matrix()
    return matrix


def action(position: Float64, matrix: Float64, gripper: float) -> Float32:
    """Make an `ee_pose` action, float32 (10,): position, rot6d, gripper."""
    return np.concatenate([position, matrix[:, 0], matrix[:, 1], [gripper]]).astype(np.float32)
