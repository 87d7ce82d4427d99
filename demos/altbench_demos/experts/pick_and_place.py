"""A base for experts that grasp an object from above, carry it and put it down."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from altbench.api import Float32, Float64, TaskEnv
from altbench_demos.experts.waypoints import (
    CLOSE_TOLERANCE,
    CLOSED,
    LEAD,
    LOST,
    OPEN,
    UP,
    Style,
    action,
    gripper_yaw,
    pointing_down,
    turned,
)

TURNED = 0.1
"""rad: how near to the grasp's yaw the gripper closes."""
RISE = 0.04
"""m: further under its carrying height an object moves only up. Within it, the nearer
to the height, the faster it moves sideways."""
TURN_AHEAD = 0.3
"""rad: how far ahead of the present orientation to aim."""
CLOSE_STEPS = 8
"""Control steps that the fingers need to close firmly on a thin object."""
OPEN_STEPS = 3
"""Control steps in which the fingers open before the gripper leaves."""
AGAIN_STEPS = 12
"""Control steps after which the expert begins again, if it has let the object go
without success or has lost it."""
HASTE = 1.5
"""How much faster the object is carried than the gripper approaches."""

Phase = Literal["approach", "close", "carry", "release"]


@dataclass(frozen=True)
class Plan:
    """A plan for the present step; positions (3,) in m, world; yaws in rad.

    `grasp`, `grasp_yaw`: the grip site's pose to close at. `held`: the object's
    position; `goal`: where to carry it. `turn`: how far about z to turn it on the way.
    `arrived`: it may be let go.
    """

    grasp: Float64
    grasp_yaw: float
    held: Float64
    goal: Float64
    turn: float = 0.0
    arrived: bool = False


class PickAndPlace(ABC):
    """An `altbench.api.Expert` for tasks with one object to carry.

    The seed draws its style. `floor`: no target lies lower (m, world). `carry_height`:
    (least, most) m above the goal at which the object travels. `carry_lead`: LEAD while
    carrying; with a smaller one the object slows down earlier and does not swing past
    its goal.
    """

    floor: ClassVar[float]
    carry_height: ClassVar[tuple[float, float]] = (0.05, 0.09)
    carry_lead: ClassVar[float] = 1.5

    def __init__(self) -> None:
        self._phase: Phase = "approach"
        self._waited = 0
        self._style = self._carrying = Style(0.0, 0.0, 0.0)

    @abstractmethod
    def plan(self, poses: Mapping[str, Float64]) -> Plan:
        """Plan the present step from the poses of `TaskEnv.privileged()`."""

    def reset(self, env: TaskEnv, seed: int) -> None:
        """Begin an episode in a style drawn from `seed`."""
        del env  # every episode begins alike
        rng = np.random.default_rng(seed)
        self._phase, self._waited = "approach", 0
        self._style = Style.draw(rng)
        self._carrying = Style(HASTE * self._style.step, rng.uniform(*self.carry_height), self._style.slope)

    def act(self, env: TaskEnv) -> Float32:
        """Return the next `ee_pose` action, float32 (10,)."""
        poses = env.privileged()
        position, yaw = poses["gripper_position"], gripper_yaw(poses["gripper_quaternion"])
        plan = self.plan(poses)
        self._next_phase(position, yaw, plan)
        if self._phase in ("approach", "close"):
            target = self._style.funnel(position, plan.grasp) if self._phase == "approach" else plan.grasp
            yaw = plan.grasp_yaw
        elif self._phase == "carry":
            target, yaw = self._carried(position, plan), yaw + plan.turn
        else:
            target = position if self._waited < OPEN_STEPS else position + UP
        gripper = CLOSED if self._phase in ("close", "carry") else OPEN
        style, lead = (self._carrying, self.carry_lead) if self._phase == "carry" else (self._style, LEAD)
        matrix = turned(poses["gripper_quaternion"], pointing_down(yaw), TURN_AHEAD)
        return action(style.ahead(position, target, self.floor, lead), matrix, gripper)

    def _next_phase(self, position: Float64, yaw: float, plan: Plan) -> None:
        self._waited += 1
        if self._phase == "approach":
            there = np.linalg.norm(position - plan.grasp) < CLOSE_TOLERANCE
            if there and abs(np.arctan2(np.sin(yaw - plan.grasp_yaw), np.cos(yaw - plan.grasp_yaw))) < TURNED:
                self._enter("close")
        elif self._phase == "close" and self._waited >= CLOSE_STEPS:
            self._enter("carry")
        elif self._phase == "carry":
            if plan.arrived or np.linalg.norm(plan.grasp - position) > LOST:
                self._enter("release")
        elif self._phase == "release" and self._waited >= AGAIN_STEPS:
            self._enter("approach")

    def _enter(self, phase: Phase) -> None:
        self._phase, self._waited = phase, 0

    def _carried(self, position: Float64, plan: Plan) -> Float64:
        """Return the grip site's target so that the object rises, travels and sinks."""
        to_go = self._carrying.funnel(plan.held, plan.goal) - plan.held
        to_go[:2] *= np.clip(1.0 - to_go[2] / RISE, 0.0, 1.0)
        return np.asarray(position + to_go)
