"""What scripted experts share: short steps ahead of the present pose, a funnel above a target, grasps from above.

Each action lies a bounded step ahead of the present pose, so that it depends on what is seen now and not on a clock:
position and orientation are pulled along at a speed that the controller's gains turn that step into.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from altbench.api import Float32, Float64

DOWN = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])  # grip site's rotation, pointing down, yaw 0
UP = np.array([0.0, 0.0, 1.0])
QUARTER_TURN = np.pi / 2
OPEN, CLOSED = -1.0, 1.0
CLOSE_TOLERANCE = 0.01  # m: near enough to close
LEAD = 3.0  # how far past the target to aim, in present errors: the controller alone creeps over the last centimetre
TURN_STEP = 0.2  # rad ahead of the present orientation
CLOSE_STEPS = 6  # control steps that the fingers need from open to firm
LOST = 0.03  # m: an object that has moved so far within the closed gripper has slipped out


@dataclass(frozen=True)
class Style:
    """How one demonstration differs from another of the same pose.

    `step`: m ahead of the present position; `height`: m above the target while not yet over it; `slope`: m of height
    per m of horizontal error, the funnel it descends in.
    """

    step: float
    height: float
    slope: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Style:
        """Speed, approach height, steepness of the descent."""
        return cls(rng.uniform(0.035, 0.045), rng.uniform(0.05, 0.09), rng.uniform(2.0, 4.0))

    def funnel(self, position: Float64, target: Float64) -> Float64:
        """Where to head from `position` (3,): over the target (3,), lower the nearer."""
        error = float(np.linalg.norm((position - target)[:2]))
        height = min(self.height, self.slope * max(0.0, error - CLOSE_TOLERANCE))
        return np.asarray(target + height * UP)

    def ahead(self, position: Float64, target: Float64, floor: float, lead: float = LEAD) -> Float64:
        """The position (3,) to ask for on the way to `target`, never under `floor` (m)."""
        return np.maximum(position + limited(lead * (target - position), self.step), [-np.inf, -np.inf, floor])


def limited(vector: Float64, length: float) -> Float64:
    """`vector`, shortened to `length` where it is longer."""
    return vector * min(1.0, length / max(float(np.linalg.norm(vector)), 1e-9))


def yaw_of(quaternion: Float64) -> float:
    """The angle about z (rad) by which a quaternion (4,) xyzw turns the x axis."""
    x_axis = Rotation.from_quat(quaternion).as_matrix()[:, 0]
    return float(np.arctan2(x_axis[1], x_axis[0]))


def nearest_quarter(yaw: float) -> float:
    """`yaw` up to quarter turns, in [-45°, 45°]: squares look the same from four sides."""
    return float(yaw - QUARTER_TURN * np.round(yaw / QUARTER_TURN))


def pointing_down(yaw: float) -> Rotation:
    """The grip site's rotation pointing down, its fingers closing along y turned by `yaw` (rad)."""
    return Rotation.from_euler("z", yaw) * Rotation.from_matrix(DOWN)


def gripper_yaw(quaternion: Float64) -> float:
    """The yaw (rad) that `pointing_down` would have been given for the grip site's quaternion (4,) xyzw."""
    return yaw_of((Rotation.from_quat(quaternion) * Rotation.from_matrix(DOWN).inv()).as_quat())


def turned(gripper: Float64, goal: Rotation, step: float = TURN_STEP) -> Float64:
    """Rotation (3, 3) at most `step` (rad) from the gripper's quaternion (4,) xyzw towards `goal`."""
    present = Rotation.from_quat(gripper)
    error = limited((goal * present.inv()).as_rotvec(), step)
    matrix: Float64 = (Rotation.from_rotvec(error) * present).as_matrix()
    return matrix


def action(position: Float64, matrix: Float64, gripper: float) -> Float32:
    """Position, first two columns of the rotation, gripper: float32 (10,)."""
    return np.concatenate([position, matrix[:, 0], matrix[:, 1], [gripper]]).astype(np.float32)
