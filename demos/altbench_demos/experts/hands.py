"""A gripper of a scripted expert: it approaches, closes, carries and lets go."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation

from altbench.api import Float32, Float64
from altbench_demos.experts.waypoints import CLOSED, LEAD, OPEN, UP, Style, action, turned

FLOOR = 0.8
"""m, world: no target lies lower."""
HASTE = 1.6
"""How much faster an arm travels than it approaches."""
NEAR, TURNED = 0.012, 0.12
"""m, rad: how near to a grasp's pose the gripper closes."""
CLOSE_STEPS, OPEN_STEPS = 10, 4
"""Control steps that the fingers need."""
RISE = 0.05
"""m: further under its travelling height the gripper only rises. Within it, the nearer
to the height, the faster it moves sideways."""
TURN_AHEAD = 0.3
"""rad: how far ahead of the present orientation to aim."""


@dataclass
class Hand:
    """One arm of an expert, its phase, and its grip site's present pose.

    `waited`, `closing`: control steps since the phase began, and since closing began.
    `position`: (3,) m; `quaternion`: (4,) xyzw.
    """

    style: Style
    phase: str
    waited: int = 0
    closing: int = 0
    position: Float64 = field(default_factory=lambda: np.zeros(3))
    quaternion: Float64 = field(default_factory=lambda: np.array([0.0, 0.0, 0.0, 1.0]))

    def enter(self, phase: str) -> None:
        """Begin a phase."""
        self.phase, self.waited, self.closing = phase, 0, 0

    def at(self, target: Float64, facing: Rotation) -> bool:
        """Tell whether the grip site is near enough to the pose to close."""
        turn = (facing * Rotation.from_quat(self.quaternion).inv()).magnitude()
        return bool(np.linalg.norm(self.position - target) < NEAR and turn < TURNED)

    def move(
        self, target: Float64, facing: Rotation, gripper: float, haste: float = 1.0, lead: float = LEAD
    ) -> Float32:
        """Return the action (10,) on the way to a pose."""
        style = Style(haste * self.style.step, self.style.height, self.style.slope)
        matrix = turned(self.quaternion, facing, TURN_AHEAD)
        return action(style.ahead(self.position, target, FLOOR, lead), matrix, gripper)

    def approach(self, target: Float64, facing: Rotation, height: float) -> Float32:
        """Return the action towards a grasp along the gripper's own axis.

        The gripper keeps `height` (m) off the grasp until it is in front of it.
        """
        back = -facing.as_matrix()[:, 2]
        off = self.position - target
        depth = float(back @ off)
        sideways = off - depth * back
        aside = float(np.linalg.norm(sideways))
        outwards = min(height, self.style.slope * max(0.0, aside - NEAR)) - depth
        goal = self.position + outwards * back - sideways * np.clip(1.0 - outwards / RISE, 0.0, 1.0)
        return self.move(goal, facing, OPEN, HASTE if aside > height else 1.0)

    def grasp(self, target: Float64, facing: Rotation, height: float, then: str) -> Float32:
        """Approach and close, then enter the phase `then`; return the action."""
        if self.closing or self.at(target, facing):
            self.closing += 1
        if self.closing > CLOSE_STEPS:
            self.enter(then)
        return self.move(target, facing, CLOSED) if self.closing else self.approach(target, facing, height)

    def carry(self, goal: Float64, facing: Rotation, height: float) -> Float32:
        """Return the action that carries an object up, over `goal` and down to it.

        It travels at `height` (m, world).
        """
        aside = goal[:2] - self.position[:2]
        sinking = max(0.0, float(np.linalg.norm(aside)) - NEAR) * self.style.slope
        target = np.array([*goal[:2], min(max(height, goal[2]), goal[2] + sinking)])
        target[:2] = self.position[:2] + aside * np.clip(1.0 - (target[2] - self.position[2]) / RISE, 0.0, 1.0)
        return self.move(target, facing, CLOSED, HASTE, 1.5)

    def release(self, facing: Rotation, then: str) -> Float32:
        """Open and rise a little, then enter the phase `then`; return the action."""
        if self.waited > 2 * OPEN_STEPS:
            self.enter(then)
        target = self.position if self.waited < OPEN_STEPS else self.position + UP
        return self.move(np.asarray(target), facing, OPEN)
