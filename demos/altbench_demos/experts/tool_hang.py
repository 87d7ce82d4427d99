"""The scripted expert for ToolHang: insert the frame, hang the wrench on it.

The gripper leans when it grasps the frame. So it points down and aside, within the
arm's reach, when the frame is upright.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from altbench.api import Float32, Float64, TaskEnv
from altbench_demos.experts.hands import HASTE, OPEN_STEPS, RISE, Hand
from altbench_demos.experts.waypoints import CLOSED, OPEN, UP, Style, pointing_down, yaw_of

# Points of the frame, in its own axes (m). z runs along the rod to the bar at its top,
# and -x along the bar to the hook at its end.
FRAME_GRIP = np.array([0.0438, 0.0, 0.0525])
"""Where the gripper holds the frame."""
FRAME_TIP = np.array([0.0438, 0.0, -0.1345])
"""The rod's lower end, which goes into the hole."""
HOOK = np.array([-0.0438, 0.0, 0.102])
"""The top of the nub at the bar's end."""
UPRIGHT = Rotation.from_euler("z", np.pi)
"""The standing frame's rotation: the hook points away from the robot."""
HOLE = np.array([0.0, 0.045, 0.08])
"""The middle of the hole's rim, in the stand's own axes (m)."""
STANDING_HOOK = UPRIGHT.apply(HOOK - FRAME_TIP) - np.array([0.0, 0.0, 0.15])
"""m from the hole's rim to the hook when the frame stands in the hole."""
RING = np.array([-0.0934, 0.0, 0.0])
"""The middle of the wrench's ring, in the wrench's own axes (m)."""
HALF_TURN = np.pi
"""rad: 180 degrees."""
LEVEL = Rotation.identity()
"""The wrench's rotation while it is carried: its far end points away from the robot."""

OFF_TABLE = 0.004
"""m above the frame's middle: so high, a leaning finger keeps off the table."""
RAISED = 1.10
"""m, world: at this height the gripper may turn and travel."""
HOVER = 0.012
"""m above the hole's rim: where the tip waits until it is aligned."""
OVER_HOLE, STRAIGHT, STILL = 0.0018, 0.035, 0.0012
"""m, rad, m per control step: error, tilt and speed of an aligned tip, at most."""
WITHIN = 0.004
"""m: a tip in the hole cannot be further from its middle."""
SINK = 0.03
"""m ahead: how fast the frame is lowered."""
INSERTED = 0.140
"""m under the rim: the tip is nearly at the bottom."""
STUCK_STEPS = 120
"""Control steps after which the frame is let go as it is."""
AWAY_STEPS = 22
"""Control steps in which the gripper leaves the frame."""
INSIDE = 0.008
"""m from the hook along the bar: here the ring cannot slip off."""
OVER_HOOK = 0.03
"""m above the hook: where the ring waits until it is aligned."""
AROUND = 0.005
"""m: an aligned ring's error, at most."""
HOOKED = -0.006
"""m above the hook's top: a ring so low is around the hook."""
DROOP, DROOPED, DROOP_AHEAD = 0.9, 0.1, 0.15
"""rad: how far the wrench's far end is lowered before it is let go, how much may be
missing, and how far ahead to aim."""
ROUND, ONTO_BAR = 0.011, 0.012
"""m: how far the ring's middle sinks during the droop, and how far it moves along the
bar in the second half."""
BRING_LEAD = 2.0
"""LEAD for a held object."""
BESIDE = 0.03
"""m: a held object that is less far beside its goal may sink."""
OFF = 0.95
"""m, world: up to this height the gripper lifts straight."""
TURNING = np.array([-0.05, -0.15, 1.15])
"""m, world: where the gripper turns what it holds."""
GENTLY, FIRMLY = 0.5, 4.0
"""Speed and LEAD of turning the wrench around the hook."""
TURN_FIRST = 0.35
"""rad: a held object with a larger error is turned before it travels."""


class ToolHangExpert:
    """The `altbench.api.Expert` for ToolHang.

    The seed draws its style: speed, approach, how far the gripper leans.
    """

    def __init__(self) -> None:
        self._hand = Hand(Style(0.0, 0.0, 0.0), "frame")
        self._lean = 0.0
        self._before = np.zeros(3)  # the held object's position one control step ago

    def reset(self, env: TaskEnv, seed: int) -> None:
        """Begin an episode in a style drawn from `seed`."""
        del env  # every episode begins alike
        rng = np.random.default_rng(seed)
        self._hand, self._lean = Hand(Style.draw(rng), "frame"), rng.uniform(0.65, 0.8)
        self._before = np.zeros(3)

    def act(self, env: TaskEnv) -> Float32:
        """Return the next `ee_pose` action, float32 (10,)."""
        poses, hand = env.privileged(), self._hand
        hand.position, hand.quaternion = poses["gripper_position"], poses["gripper_quaternion"]
        hand.waited += 1
        if hand.phase.startswith("leave"):
            return self._leave()
        phase = {
            "frame": self._grasp_frame,
            "raise frame": self._align_frame,
            "insert": self._insert,
            "tool": self._grasp_tool,
            "raise tool": self._align_tool,
            "hook": self._hook,
            "droop": self._droop,
        }[hand.phase]
        chosen = phase(poses)
        self._before = poses["frame_position" if hand.phase in ("frame", "raise frame", "insert") else "tool_position"]
        return chosen

    def _leave(self) -> Float32:
        """Open, then move back along the gripper's own axis; return the action."""
        hand, frame = self._hand, self._hand.phase == "leave frame"
        if frame and hand.waited > AWAY_STEPS:
            hand.enter("tool")
        present = Rotation.from_quat(hand.quaternion)
        opened = hand.waited >= (OPEN_STEPS if frame else 2 * OPEN_STEPS)
        away = -present.as_matrix()[:, 2] if opened else np.zeros(3)
        return hand.move(hand.position + away, present, OPEN)

    # -------------------------------------------------------------------------------------------------------- frame

    def _grasp_frame(self, poses: dict[str, Float64]) -> Float32:
        frame = Rotation.from_quat(poses["frame_quaternion"])
        cos, sin = np.cos(self._lean), np.sin(self._lean)
        facing = frame * Rotation.from_matrix([[1.0, 0.0, 0.0], [0.0, -sin, cos], [0.0, -cos, -sin]])
        place = poses["frame_position"] + frame.apply(FRAME_GRIP) + OFF_TABLE * UP
        return self._hand.grasp(place, facing, self._hand.style.height, then="raise frame")

    def _align_frame(self, poses: dict[str, Float64]) -> Float32:
        """Bring the frame upright, with its tip over the hole; return the action."""
        off, tilt = self._tip_off(poses), self._turn_left(poses, "frame", UPRIGHT)
        level = abs(off[2] - HOVER) < 0.006
        if np.linalg.norm(off[:2]) < OVER_HOLE and tilt < STRAIGHT and level and self._moved(poses, "frame") < STILL:
            self._hand.enter("insert")
        return self._bring(poses, "frame", self._frame_goal(poses, HOVER), UPRIGHT)

    def _insert(self, poses: dict[str, Float64]) -> Float32:
        off = self._tip_off(poses)
        if off[2] < -INSERTED or self._hand.waited > STUCK_STEPS:
            self._hand.enter("leave frame")
        if off[2] > 0.0 and np.linalg.norm(off[:2]) > WITHIN:
            self._hand.enter("raise frame")
        return self._bring(poses, "frame", self._frame_goal(poses, float(off[2]) - SINK), UPRIGHT, straight=True)

    def _frame_goal(self, poses: dict[str, Float64], height: float) -> Float64:
        """Return an upright frame's position, its tip `height` (m) above the rim."""
        return np.asarray(_point(poses, "stand", HOLE) + height * UP - UPRIGHT.apply(FRAME_TIP))

    def _tip_off(self, poses: dict[str, Float64]) -> Float64:
        return _point(poses, "frame", FRAME_TIP) - _point(poses, "stand", HOLE)

    # --------------------------------------------------------------------------------------------------------- tool

    def _grasp_tool(self, poses: dict[str, Float64]) -> Float32:
        hand = self._hand
        facing = pointing_down(yaw_of(poses["tool_quaternion"]) + HALF_TURN)
        return hand.grasp(poses["tool_position"], facing, RAISED - 0.82, then="raise tool")

    def _align_tool(self, poses: dict[str, Float64]) -> Float32:
        """Bring the wrench level, with its ring over the hook; return the action."""
        off = self._ring_off(poses)
        level = abs(off[2] - OVER_HOOK) < 0.01
        if np.linalg.norm(off[:2]) < AROUND and level and self._moved(poses, "tool") < 2 * STILL:
            self._hand.enter("hook")
        return self._bring(poses, "tool", self._tool_goal(poses, OVER_HOOK, LEVEL), LEVEL)

    def _hook(self, poses: dict[str, Float64]) -> Float32:
        off = self._ring_off(poses)
        if off[2] < HOOKED or self._hand.waited > STUCK_STEPS // 2:
            self._hand.enter("droop")
        return self._bring(poses, "tool", self._tool_goal(poses, HOOKED - 0.004, LEVEL), LEVEL, straight=True)

    def _droop(self, poses: dict[str, Float64]) -> Float32:
        """Turn the ring from the hook onto the bar; return the action."""
        far = Rotation.from_quat(poses["tool_quaternion"]).as_matrix()[:, 0]
        droop = float(np.arctan2(-far[2], far[0]))
        inside = -float(self._ring_off(poses)[0])
        if (droop > DROOP - DROOPED and inside > INSIDE) or self._hand.waited > STUCK_STEPS // 2:
            self._hand.enter("leave tool")
        goal = Rotation.from_euler("y", min(droop + DROOP_AHEAD, DROOP))
        sunk, moved = np.clip([droop / DROOP, 2.0 * droop / DROOP - 1.0], 0.0, 1.0)
        ring = _point(poses, "stand", HOLE) + STANDING_HOOK + np.array([-moved * ONTO_BAR, 0.0, HOOKED - sunk * ROUND])
        return self._bring(poses, "tool", np.asarray(ring - goal.apply(RING)), goal, straight=True, gently=True)

    def _tool_goal(self, poses: dict[str, Float64], height: float, facing: Rotation) -> Float64:
        """Return the position of a wrench turned as `facing`.

        Its ring's middle is `height` (m) above the hook's top.
        """
        return np.asarray(_point(poses, "frame", HOOK) + height * UP - facing.apply(RING))

    def _ring_off(self, poses: dict[str, Float64]) -> Float64:
        return _point(poses, "tool", RING) - _point(poses, "frame", HOOK)

    # ------------------------------------------------------------------------------------------------------- moving

    def _bring(
        self,
        poses: dict[str, Float64],
        body: str,
        goal: Float64,
        facing: Rotation,
        straight: bool = False,
        gently: bool = False,
    ) -> Float32:
        """Bring the held `body` to `goal` (3,), turned as `facing`; return the action.

        It moves up, then turns, then moves aside, unless `straight`.
        """
        hand, held = self._hand, Rotation.from_quat(poses[f"{body}_quaternion"])
        turn = facing * held.inv()
        arm = hand.position - poses[f"{body}_position"]
        target = goal + turn.apply(arm)
        if straight:
            present = Rotation.from_quat(hand.quaternion)
            haste, lead = (GENTLY, FIRMLY) if gently else (1.0, BRING_LEAD)
            return hand.move(target, turn * present, CLOSED, haste, lead)
        present = Rotation.from_quat(hand.quaternion)
        aside = float(np.linalg.norm((target - hand.position)[:2]))
        if hand.position[2] < OFF and aside > BESIDE:
            return hand.move(hand.position + UP, present, CLOSED, HASTE, BRING_LEAD)
        if turn.magnitude() > TURN_FIRST:
            return hand.move(TURNING, turn * present, CLOSED, HASTE, BRING_LEAD)
        raised = max(float(target[2]), RAISED) if aside > BESIDE else float(target[2])
        free = np.clip(1.0 - (raised - hand.position[2]) / RISE, 0.0, 1.0)
        target = np.array([*(hand.position + free * (target - hand.position))[:2], raised])
        return hand.move(target, turn * present, CLOSED, HASTE if aside > BESIDE else 1.0, BRING_LEAD)

    def _turn_left(self, poses: dict[str, Float64], body: str, facing: Rotation) -> float:
        return float((facing * Rotation.from_quat(poses[f"{body}_quaternion"]).inv()).magnitude())

    def _moved(self, poses: dict[str, Float64], body: str) -> float:
        return float(np.linalg.norm(poses[f"{body}_position"] - self._before))


def _point(poses: dict[str, Float64], body: str, local: Float64) -> Float64:
    """Convert a point (3,) in a body's own axes to the world (3,)."""
    turn = Rotation.from_quat(poses[f"{body}_quaternion"])
    return np.asarray(poses[f"{body}_position"] + turn.apply(local))
