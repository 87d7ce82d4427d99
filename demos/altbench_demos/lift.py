"""The scripted expert for Lift: above the cube, down, close, lift, in absolute pose actions.

Each action lies a bounded step ahead of the present pose, so that it depends on what is seen now and not on a clock:
position and orientation are pulled along at a speed that the controller's gains turn that step into.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

from altbench.api import Float32, Float64, SimulatedTask

DOWN = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])  # grip site's rotation, pointing down, yaw 0
TABLE = 0.8  # m, world: no target lies lower (the floor of the workspace)
UP = np.array([0.0, 0.0, 1.0])
QUARTER_TURN = np.pi / 2
OPEN, CLOSED = -1.0, 1.0
GRASP_BELOW_CENTRE = 0.005  # m: how far below the cube's centre the grip site closes
CLOSE_TOLERANCE = 0.01  # m: near enough to close
LEAD = 3.0  # how far past the target to aim, in present errors: the controller alone creeps over the last centimetre
TURN_STEP = 0.2  # rad ahead of the present orientation
CLOSE_STEPS = 6  # control steps that the fingers need from open to firm
LOST = 0.03  # m above the cube: it has slipped out

Stage = Literal["approach", "close", "lift"]


class LiftExpert:
    """`altbench.api.Expert` for Lift. The seed draws its style: speed, approach height, steepness of the descent."""

    def __init__(self) -> None:
        self._stage: Stage = "approach"
        self._closing = 0
        self._step = self._height = self._slope = 0.0

    def reset(self, env: SimulatedTask, seed: int) -> None:
        """Begin an episode in a style drawn from `seed`."""
        del env  # every episode of Lift begins alike
        rng = np.random.default_rng(seed)
        self._stage, self._closing = "approach", 0
        self._step = rng.uniform(0.035, 0.045)  # m ahead of the present position
        self._height = rng.uniform(0.05, 0.09)  # m above the grasp, while not yet over the cube
        self._slope = rng.uniform(2.0, 4.0)  # m of height per m of horizontal error: the funnel it descends in

    def act(self, env: SimulatedTask) -> Float32:
        """The next `ee_pose` action, float32 (10,)."""
        poses = env.privileged()
        position, cube = poses["gripper_position"], poses["cube_position"]
        grasp = cube - np.array([0.0, 0.0, GRASP_BELOW_CENTRE])
        self._next_stage(position, cube, grasp)
        if self._stage == "approach":
            target, gripper = self._funnel(position, grasp), OPEN
        else:
            target, gripper = grasp if self._stage == "close" else position + UP, CLOSED
        ahead = _limited(LEAD * (target - position), self._step)
        turn = _turn(poses["gripper_quaternion"], poses["cube_quaternion"])
        return _action(np.maximum(position + ahead, [-np.inf, -np.inf, TABLE]), turn, gripper)

    def _next_stage(self, position: Float64, cube: Float64, grasp: Float64) -> None:
        if self._stage == "approach" and np.linalg.norm(position - grasp) < CLOSE_TOLERANCE:
            self._stage, self._closing = "close", 0
        elif self._stage == "close":
            self._closing += 1
            if self._closing >= CLOSE_STEPS:
                self._stage = "lift"
        elif self._stage == "lift" and position[2] - cube[2] > LOST:
            self._stage = "approach"

    def _funnel(self, position: Float64, grasp: Float64) -> Float64:
        """Where to head: over the grasp, lower the nearer."""
        error = float(np.linalg.norm((position - grasp)[:2]))
        height = min(self._height, self._slope * max(0.0, error - CLOSE_TOLERANCE))
        return np.asarray(grasp + height * UP)


def _limited(vector: Float64, length: float) -> Float64:
    return vector * min(1.0, length / max(float(np.linalg.norm(vector)), 1e-9))


def _turn(gripper: Float64, cube: Float64) -> Float64:
    """Rotation (3, 3) at most TURN_STEP from the gripper's towards pointing down, fingers along the cube's sides."""
    x_axis = Rotation.from_quat(cube).as_matrix()[:, 0]
    yaw = np.arctan2(x_axis[1], x_axis[0])
    yaw -= QUARTER_TURN * np.round(yaw / QUARTER_TURN)  # a cube looks the same from four sides
    goal = Rotation.from_euler("z", yaw) * Rotation.from_matrix(DOWN)
    present = Rotation.from_quat(gripper)
    error = _limited((goal * present.inv()).as_rotvec(), TURN_STEP)
    matrix: Float64 = (Rotation.from_rotvec(error) * present).as_matrix()
    return matrix


def _action(position: Float64, matrix: Float64, gripper: float) -> Float32:
    """Position, first two columns of the rotation, gripper: float32 (10,)."""
    return np.concatenate([position, matrix[:, 0], matrix[:, 1], [gripper]]).astype(np.float32)
