"""The scripted expert for Door: pinch the handle's lever from the front, turn it down, pull the door open."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

from altbench.api import Float32, Float64, TaskEnv
from altbench_demos.experts.waypoints import CLOSED, LOST, OPEN, UP, Style, action, turned

FLOOR = 0.82  # m, world: no target lies lower
NEAR, FACING = 0.012, 0.15  # m, rad: near enough to close
CLOSE_STEPS = 8  # control steps that the fingers need from open to firm
KEEP_OFF = 0.15  # m in front of the lever per rad that the gripper still has to turn
TURN_AHEAD = 0.5  # rad ahead of the present orientation
PRESS_AHEAD = 0.5  # rad ahead of the lever's present angle
UNLATCHED = 1.3  # rad: the latch has left the frame
NEARLY = 0.1  # rad before that, the pull begins
PULL_AHEAD = 0.12  # rad ahead of the door's present angle
STRENGTH = 1.5  # how much further ahead to aim against the handle's spring and the door

Stage = Literal["approach", "close", "press", "pull"]


@dataclass(frozen=True)
class Handle:
    """The handle as seen now; m, world. `grasp`: where to pinch the lever, (3,). `axis`: the point that it turns about,
    level with `grasp`. `normal`: the door's, out of the room, (3,). `angle`: how far it is pressed down (rad).
    `facing`: the grip site's rotation towards the door, fingers above and below the lever. `hinge`: a point of its axis.
    """

    grasp: Float64
    axis: Float64
    normal: Float64
    angle: float
    facing: Rotation
    hinge: Float64

    @classmethod
    def seen(cls, poses: dict[str, Float64], reach: float) -> Handle:
        """From `TaskEnv.privileged()`; `reach`: where on the lever, 0 at its axis, 1 at the handle site."""
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
        """Pose of the grip site that holds the lever after it has turned `ahead` (rad) further down."""
        turn = Rotation.from_rotvec(-ahead * self.normal)
        return np.asarray(self.axis + turn.apply(self.grasp - self.axis)), turn * self.facing


class DoorExpert:
    """`altbench.api.Expert` for Door. The seed draws its style: speed, approach, where on the lever, how far it turns."""

    def __init__(self) -> None:
        self._stage: Stage = "approach"
        self._closing = 0
        self._style = self._pulling = Style(0.0, 0.0, 0.0)
        self._reach = self._turn = 0.0

    def reset(self, env: TaskEnv, seed: int) -> None:
        """Begin an episode in a style drawn from `seed`."""
        del env  # every episode begins alike
        rng = np.random.default_rng(seed)
        self._stage, self._closing = "approach", 0
        self._style = Style.draw(rng)
        self._pulling = replace(self._style, step=STRENGTH * self._style.step)
        self._reach = rng.uniform(0.85, 1.05)
        self._turn = UNLATCHED + rng.uniform(0.0, 0.15)

    def act(self, env: TaskEnv) -> Float32:
        """The next `ee_pose` action, float32 (10,)."""
        poses = env.privileged()
        position, quaternion = poses["gripper_position"], poses["gripper_quaternion"]
        handle = Handle.seen(poses, self._reach)
        turn = float((handle.facing * Rotation.from_quat(quaternion).inv()).magnitude())
        self._next_stage(float(np.linalg.norm(position - handle.grasp)), turn, handle.angle)
        target, facing = self._target(position, turn, handle)
        gripper = OPEN if self._stage == "approach" else CLOSED
        style = self._style if gripper == OPEN else self._pulling
        return action(style.ahead(position, target, FLOOR), turned(quaternion, facing, TURN_AHEAD), gripper)

    def _next_stage(self, off: float, turn: float, angle: float) -> None:
        self._closing += 1
        if self._stage == "approach" and off < NEAR and turn < FACING:
            self._stage, self._closing = "close", 0
        elif self._stage == "close" and self._closing >= CLOSE_STEPS:
            self._stage = "press"
        elif self._stage in ("press", "pull") and off > LOST:
            self._stage = "approach"
        elif self._stage == "press" and angle > self._turn - NEARLY:
            self._stage = "pull"

    def _target(self, position: Float64, turn: float, handle: Handle) -> tuple[Float64, Rotation]:
        """The grip site's pose to head for."""
        if self._stage == "approach":
            return self._in_front(position, turn, handle), handle.facing
        if self._stage == "close":
            return handle.grasp, handle.facing
        point, facing = handle.pressed(min(PRESS_AHEAD, self._turn - handle.angle))
        if self._stage == "press":
            return point, facing
        opening = Rotation.from_rotvec(PULL_AHEAD * UP)
        return np.asarray(handle.hinge + opening.apply(point - handle.hinge)), opening * facing

    def _in_front(self, position: Float64, turn: float, handle: Handle) -> Float64:
        """In front of the lever, the nearer the better it is faced."""
        off = position - handle.grasp
        aside = float(np.linalg.norm(off - handle.normal * float(handle.normal @ off)))
        distance = self._style.slope * max(0.0, aside - NEAR) + KEEP_OFF * max(0.0, turn - FACING)
        return np.asarray(handle.grasp + min(self._style.height, distance) * handle.normal)
