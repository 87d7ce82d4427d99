"""The scripted expert for Transport, with two arms.

The right arm opens the start bin and hands the hammer over. The left arm clears the
target bin and puts the hammer into it. The arms work at the same time and wait for each
other only around the handover.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from altbench.api import Float32, Float64, TaskEnv
from altbench_demos.experts.hands import CLOSE_STEPS, HASTE, OPEN_STEPS, Hand
from altbench_demos.experts.waypoints import (
    CLOSED,
    OPEN,
    QUARTER_TURN,
    UP,
    Style,
    nearest_quarter,
    pointing_down,
    yaw_of,
)

OVER_WALLS = 1.02
"""m, world: a gripper so high carries an object over the walls of a bin."""
HANGING_OVER_WALLS = 1.16
"""m, world: the same with the hammer's head hanging down."""
CLEAR_OF_WALL = np.array([0.0, 0.03, 0.0])
"""m from the start bin's middle to the hammer's while it is lifted."""
LIFT = 0.04
"""m ahead, upwards, meanwhile: so little that the sideways part of the step counts."""
RISE_STEPS = 40
"""Control steps after which the hammer is certainly out of its bin."""
ON_BIN = 0.095
"""m from a bin's middle to the middle of the lid on it."""
BIN_FLOOR = 0.81
"""m, world: the height of a bin's floor."""
ABOVE_LID = 0.006
"""m from the lid's middle to its handle's."""
LID_ASIDE = np.array([-0.35, 0.0, -0.145])
"""m from the lid's place on the bin to where it is laid down."""
DROP_TRASH = 0.05
"""m above the trash bin's middle: where the trash is let go."""
AT_HEAD, AT_END = 0.068, -0.072
"""m along the hammer's handle from its middle: the right and the left arm's grasp."""
MEETING = np.array([0.0, 0.0, 1.05])
"""m, world: the hammer's middle at the handover."""
MET, STILL = 0.02, 0.004
"""m, m per control step: the hammer's error and speed at the handover, at most."""
WAITING = np.array([0.0, 0.15, 1.22])
"""m, world: where the left arm waits for the hammer."""
OFF_END = 0.05
"""m: the left gripper keeps so much further off the hammer than off other objects,
because the hammer's end points at it."""
LEFT_TILT = 0.35
"""rad from straight down: the left gripper's tilt towards the right arm."""
LOWER = 0.115
"""m above the target bin's floor: where the left grip site lets the hammer go."""
HEAD_FIRST = np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, -1.0, 0.0]])
"""The hammer's rotation with its head towards -y."""


class TransportExpert:
    """The `altbench.api.Expert` for Transport.

    The seed draws its style: both arms' speed and approach, and the handover's tilt.
    """

    def __init__(self) -> None:
        self._right, self._left = (Hand(Style(0.0, 0.0, 0.0), phase) for phase in ("lid", "trash"))
        self._tilt = 0.0
        self._before = np.zeros(3)  # the payload's position one control step ago

    def reset(self, env: TaskEnv, seed: int) -> None:
        """Begin an episode in a style drawn from `seed`."""
        del env  # every episode begins alike
        rng = np.random.default_rng(seed)
        self._right, self._left = (Hand(Style.draw(rng), phase) for phase in ("lid", "trash"))
        self._tilt = rng.uniform(0.35, 0.45)
        self._before = np.zeros(3)

    def act(self, env: TaskEnv) -> Float32:
        """Return the next `ee_pose` action, float32 (20,): right arm, left arm."""
        poses = env.privileged()
        for hand, name in ((self._right, "gripper"), (self._left, "gripper1")):
            hand.position, hand.quaternion = poses[f"{name}_position"], poses[f"{name}_quaternion"]
            hand.waited += 1
        chosen = np.concatenate([self._right_action(poses), self._left_action(poses)])
        self._before = poses["payload_position"]
        return chosen

    # ---------------------------------------------------------------------------------------------------- right arm

    def _right_action(self, poses: dict[str, Float64]) -> Float32:
        hand, down = self._right, pointing_down(QUARTER_TURN)
        if hand.phase == "lid":
            return hand.grasp(poses["lid_position"] + ABOVE_LID * UP, down, hand.style.height, then="lay lid")
        if hand.phase == "lay lid":
            place = poses["start_bin_position"] + (ON_BIN + ABOVE_LID) * UP + LID_ASIDE
            if np.linalg.norm((hand.position - place)[:2]) < 0.03 and hand.position[2] - place[2] < 0.02:
                hand.enter("leave lid")
            return hand.carry(place, down, OVER_WALLS)
        if hand.phase == "leave lid":
            return hand.release(down, then="payload")
        if hand.phase == "payload":
            return self._grasp_payload(poses)
        if hand.phase == "offer":
            return self._offer(poses)
        present = Rotation.from_quat(hand.quaternion)
        away = UP if hand.waited > 4 * OPEN_STEPS else -present.as_matrix()[:, 2]
        return hand.move(hand.position + (away if hand.waited > OPEN_STEPS else 0.0), present, OPEN)

    def _grasp_payload(self, poses: dict[str, Float64]) -> Float32:
        """Grasp the hammer near its head; return the right arm's action."""
        head = _head(poses)
        facing = pointing_down(QUARTER_TURN + float(np.arctan2(head[0], -head[1])))
        place = poses["payload_position"] + AT_HEAD * head
        return self._right.grasp(place, facing, OVER_WALLS - float(place[2]), then="offer")

    def _offer(self, poses: dict[str, Float64]) -> Float32:
        """Hold the hammer out for the left arm; return the right arm's action.

        The hammer's end points at the left arm and a little up.
        """
        hand, payload = self._right, Rotation.from_quat(poses["payload_quaternion"])
        if self._left.phase == "take" and self._left.waited > CLOSE_STEPS:
            hand.enter("retreat")
        if hand.position[2] < OVER_WALLS and hand.waited < RISE_STEPS:
            clear = poses["start_bin_position"] + CLEAR_OF_WALL - poses["payload_position"]
            target = hand.position + np.array([clear[0], clear[1], LIFT])
            return hand.move(target, Rotation.from_quat(hand.quaternion), CLOSED)
        offered = Rotation.from_euler("x", self._tilt) * Rotation.from_matrix(HEAD_FIRST)
        facing = offered * payload.inv() * Rotation.from_quat(hand.quaternion)
        target = hand.position + MEETING - poses["payload_position"]
        return hand.move(target, facing, CLOSED, HASTE, 2.5)

    # ----------------------------------------------------------------------------------------------------- left arm

    def _left_action(self, poses: dict[str, Float64]) -> Float32:
        hand, down = self._left, pointing_down(-QUARTER_TURN)
        if hand.phase == "trash":
            facing = pointing_down(nearest_quarter(yaw_of(poses["trash_quaternion"])) - QUARTER_TURN)
            place = poses["trash_position"]
            return hand.grasp(place, facing, OVER_WALLS - float(place[2]), then="carry trash")
        if hand.phase == "carry trash":
            place = poses["trash_bin_position"] + DROP_TRASH * UP
            if np.linalg.norm((hand.position - place)[:2]) < 0.04 and hand.position[2] - place[2] < 0.03:
                hand.enter("leave trash")
            return hand.carry(place, down, OVER_WALLS)
        if hand.phase == "leave trash":
            return hand.release(down, then="wait")
        return self._take_payload(poses)

    def _take_payload(self, poses: dict[str, Float64]) -> Float32:
        """Wait for the hammer, take it by its end, put it into its bin."""
        hand, end = self._left, -_head(poses)
        facing = Rotation.from_euler("x", -LEFT_TILT) * pointing_down(-QUARTER_TURN)
        place = poses["payload_position"] - AT_END * end
        if hand.phase == "wait":
            if self._right.phase == "offer" and self._met(poses):
                hand.enter("payload")
            return hand.move(WAITING, facing, OPEN, HASTE)
        if hand.phase == "payload":
            facing = Rotation.from_euler("z", float(np.arctan2(-end[0], end[1]))) * facing
            return hand.grasp(place, facing, hand.style.height + OFF_END, then="take")
        if hand.phase == "take":
            if self._right.phase == "retreat" and self._right.waited > 2 * CLOSE_STEPS:
                hand.enter("carry payload")
            return hand.move(hand.position, Rotation.from_quat(hand.quaternion), CLOSED)
        return self._drop_payload(poses)

    def _met(self, poses: dict[str, Float64]) -> bool:
        payload = poses["payload_position"]
        return bool(np.linalg.norm(payload - MEETING) < MET and np.linalg.norm(payload - self._before) < STILL)

    def _drop_payload(self, poses: dict[str, Float64]) -> Float32:
        hand, present = self._left, Rotation.from_quat(self._left.quaternion)
        off = hand.position - poses["payload_position"]
        goal = poses["target_bin_position"] + [off[0], off[1], 0.0]
        if hand.phase == "carry payload":
            goal[2] = BIN_FLOOR + LOWER
            if np.linalg.norm((hand.position - goal)[:2]) < 0.03 and hand.position[2] - goal[2] < 0.02:
                hand.enter("leave payload")
            return hand.carry(goal, present, HANGING_OVER_WALLS)
        return hand.move(hand.position, present, OPEN)


def _head(poses: dict[str, Float64]) -> Float64:
    """Return the direction (3,) from the hammer's middle to its head."""
    return np.asarray(Rotation.from_quat(poses["payload_quaternion"]).as_matrix()[:, 2])
