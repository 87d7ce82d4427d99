"""The scripted expert for Door: pinch the lever, turn it down, pull the door open."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

from altbench.api import Float32, Float64, TaskEnv
from altbench_demos.experts.waypoints import CLOSED, LOST, OPEN, UP, Style, action, turned

FLOOR = 0.82
"""m, world: no target lies lower."""
NEAR, FACING = 0.012, 0.15
"""m, rad: how near to the grasp's pose the gripper closes."""
CLOSE_STEPS = 8
"""Control steps that the fingers need to close firmly."""
KEEP_OFF = 0.15
"""m: distance to the lever per rad that the gripper still has to turn."""
TURN_AHEAD = 0.5
"""rad: how far ahead of the gripper's present orientation to aim."""
PRESS_AHEAD = 0.5
"""rad: how far ahead of the lever's present angle to aim."""
UNLATCHED = 1.3
"""rad: the lever's angle at which the latch has left the frame."""
NEARLY = 0.1
"""rad: the pull begins so much before the lever has reached its angle."""
PULL_AHEAD = 0.12
"""rad: how far ahead of the door's present angle to aim."""
STRENGTH = 1.5
"""How much further ahead to aim against the handle's spring and the door's weight."""

Phase = Literal["approach", "close", "press", "pull"]


@dataclass(frozen=True)
class Handle:
    """The door's handle in the present step; positions (3,) in m, world.

    `grasp`: where to pinch the lever. `axis`: the point that the lever turns about,
    level with `grasp`. `normal`: the door's normal (3,), towards the robot. `angle`:
    how far the lever is pressed down (rad). `facing`: the grip site's rotation towards
    the door, with the fingers above and below the lever. `hinge`: a point of the door's
    axis.
    """

    grasp: Float64
    axis: Float64
    normal: Float64
    angle: float
    facing: Rotation
    hinge: Float64

    @classmethod
    def seen(cls, poses: dict[str, Float64], reach: float) -> Handle:
        """Compute the handle from the poses of `TaskEnv.privileged()`.

        `reach`: where to pinch the lever, 0 at its axis, 1 at the handle site.
        """
        door, latch = (Rotation.from_quat(poses[f"{name}_quaternion"]) for name in ("door", "latch"))
        normal, across = -door.as_matrix()[:, 1], latch.as_matrix()[:, 2]
        handle, centre = poses["handle_position"], poses["latch_position"]
        axis = centre + normal * float(normal @ (handle - centre))
        relative = (door.inv() * latch).as_matrix()
        return cls(
            grasp=axis + reach * (handle - axis),
            axis=axis,
            normal=normal,
            angle=float(np.arctan2(relative[0, 2], relative[0, 0])),
            facing=Rotation.from_matrix(np.stack([-across, np.cross(normal, across), -normal], axis=1)),
            hinge=poses["hinge_position"],
        )

    def pressed(self, ahead: float) -> tuple[Float64, Rotation]:
        """Return the grip site's pose that turns the lever `ahead` (rad) further down.

        `ahead` counts from the lever's present angle.
        """
        turn = Rotation.from_rotvec(-ahead * self.normal)
        return np.asarray(self.axis + turn.apply(self.grasp - self.axis)), turn * self.facing


class DoorExpert:
    """The `altbench.api.Expert` for Door.

    The seed draws its style: speed, approach, where it pinches the lever, how far it
    turns the lever.
    """

    def __init__(self) -> None:
        self._phase: Phase = "approach"
        self._closing = 0
        self._style = self._pulling = Style(0.0, 0.0, 0.0)
        self._reach = self._turn = 0.0

    def reset(self, env: TaskEnv, seed: int) -> None:
        """Begin an episode in a style drawn from `seed`."""
        del env  # every episode begins alike
        rng = np.random.default_rng(seed)
        self._phase, self._closing = "approach", 0
        self._style = Style.draw(rng)
        self._pulling = replace(self._style, step=STRENGTH * self._style.step)
        self._reach = rng.uniform(0.85, 1.05)
        self._turn = UNLATCHED + rng.uniform(0.0, 0.15)

    def act(self, env: TaskEnv) -> Float32:
        """Return the next `ee_pose` action, float32 (10,)."""
        poses = env.privileged()
        position, quaternion = poses["gripper_position"], poses["gripper_quaternion"]
        handle = Handle.seen(poses, self._reach)
        turn = float((handle.facing * Rotation.from_quat(quaternion).inv()).magnitude())
        self._next_phase(float(np.linalg.norm(position - handle.grasp)), turn, handle.angle)
        target, facing = self._target(position, turn, handle)
        gripper = OPEN if self._phase == "approach" else CLOSED
        style = self._style if gripper == OPEN else self._pulling
        return action(style.ahead(position, target, FLOOR), turned(quaternion, facing, TURN_AHEAD), gripper)

    def _next_phase(self, off: float, turn: float, angle: float) -> None:
        self._closing += 1
        if self._phase == "approach" and off < NEAR and turn < FACING:
            self._phase, self._closing = "close", 0
        elif self._phase == "close" and self._closing >= CLOSE_STEPS:
            self._phase = "press"
        elif self._phase in ("press", "pull") and off > LOST:
            self._phase = "approach"
        elif self._phase == "press" and angle > self._turn - NEARLY:
            self._phase = "pull"

    def _target(self, position: Float64, turn: float, handle: Handle) -> tuple[Float64, Rotation]:
        """Return the grip site's pose to head for."""
        if self._phase == "approach":
            return self._in_front(position, turn, handle), handle.facing
        if self._phase == "close":
            return handle.grasp, handle.facing
        point, facing = handle.pressed(min(PRESS_AHEAD, self._turn - handle.angle))
        if self._phase == "press":
            return point, facing
        opening = Rotation.from_rotvec(PULL_AHEAD * UP)
        return np.asarray(handle.hinge + opening.apply(point - handle.hinge)), opening * facing

    def _in_front(self, position: Float64, turn: float, handle: Handle) -> Float64:
        """Return a point in front of the lever.

        It is the nearer to the lever, the better the gripper faces it.
        """
        off = position - handle.grasp
        aside = float(np.linalg.norm(off - handle.normal * float(handle.normal @ off)))
        distance = self._style.slope * max(0.0, aside - NEAR) + KEEP_OFF * max(0.0, turn - FACING)
        return np.asarray(handle.grasp + min(self._style.height, distance) * handle.normal)
