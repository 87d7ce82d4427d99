"""Experts that grasp an object from above, carry it over an obstacle and put it down; each task says where."""

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

TURNED = 0.1  # rad: near enough to close
RISE = 0.04  # m under its carrying height, an object moves only up; above, the nearer the faster sideways
TURN_AHEAD = 0.3  # rad ahead of the present orientation
CLOSE_STEPS = 8  # control steps that the fingers need from open to firm on something thin
OPEN_STEPS = 3  # control steps in which the fingers open before the gripper leaves
AGAIN_STEPS = 12  # after letting go without success, or losing the object: again from the beginning
HASTE = 1.5  # how much faster the object is carried than the gripper approaches

Stage = Literal["approach", "close", "carry", "release"]


@dataclass(frozen=True)
class Plan:
    """What to do, as seen now; positions (3,) in m, world, yaws in rad.

    `grasp`, `grasp_yaw`: the grip site's pose to close at. `held`: where the object is; `goal`: where it shall be.
    `turn`: how far about z it still has to turn while it is carried. `arrived`: it may be let go.
    """

    grasp: Float64
    grasp_yaw: float
    held: Float64
    goal: Float64
    turn: float = 0.0
    arrived: bool = False


class PickAndPlace(ABC):
    """`altbench.api.Expert` of tasks with one object to carry. The seed draws its style.

    `floor`: no target lies lower (m). `carry_height`: (least, most) m above the goal at which the object travels.
    `carry_lead`: as LEAD; less than that, what is carried slows down earlier and does not swing past its goal.
    """

    floor: ClassVar[float]
    carry_height: ClassVar[tuple[float, float]] = (0.05, 0.09)
    carry_lead: ClassVar[float] = 1.5

    def __init__(self) -> None:
        self._stage: Stage = "approach"
        self._waited = 0
        self._style = self._carrying = Style(0.0, 0.0, 0.0)

    @abstractmethod
    def plan(self, poses: Mapping[str, Float64]) -> Plan:
        """What to do, from `TaskEnv.privileged()`."""

    def reset(self, env: TaskEnv, seed: int) -> None:
        """Begin an episode in a style drawn from `seed`."""
        del env  # every episode begins alike
        rng = np.random.default_rng(seed)
        self._stage, self._waited = "approach", 0
        self._style = Style.draw(rng)
        self._carrying = Style(HASTE * self._style.step, rng.uniform(*self.carry_height), self._style.slope)

    def act(self, env: TaskEnv) -> Float32:
        """The next `ee_pose` action, float32 (10,)."""
        poses = env.privileged()
        position, yaw = poses["gripper_position"], gripper_yaw(poses["gripper_quaternion"])
        plan = self.plan(poses)
        self._next_stage(position, yaw, plan)
        if self._stage in ("approach", "close"):
            target = self._style.funnel(position, plan.grasp) if self._stage == "approach" else plan.grasp
            yaw = plan.grasp_yaw
        elif self._stage == "carry":
            target, yaw = self._carried(position, plan), yaw + plan.turn
        else:
            target = position if self._waited < OPEN_STEPS else position + UP
        gripper = CLOSED if self._stage in ("close", "carry") else OPEN
        style, lead = (self._carrying, self.carry_lead) if self._stage == "carry" else (self._style, LEAD)
        matrix = turned(poses["gripper_quaternion"], pointing_down(yaw), TURN_AHEAD)
        return action(style.ahead(position, target, self.floor, lead), matrix, gripper)

    def _next_stage(self, position: Float64, yaw: float, plan: Plan) -> None:
        self._waited += 1
        if self._stage == "approach":
            there = np.linalg.norm(position - plan.grasp) < CLOSE_TOLERANCE
            if there and abs(np.arctan2(np.sin(yaw - plan.grasp_yaw), np.cos(yaw - plan.grasp_yaw))) < TURNED:
                self._enter("close")
        elif self._stage == "close" and self._waited >= CLOSE_STEPS:
            self._enter("carry")
        elif self._stage == "carry":
            if plan.arrived or np.linalg.norm(plan.grasp - position) > LOST:
                self._enter("release")
        elif self._stage == "release" and self._waited >= AGAIN_STEPS:
            self._enter("approach")

    def _enter(self, stage: Stage) -> None:
        self._stage, self._waited = stage, 0

    def _carried(self, position: Float64, plan: Plan) -> Float64:
        """Where the grip site heads so that the object first rises, then travels, then sinks onto its goal."""
        to_go = self._carrying.funnel(plan.held, plan.goal) - plan.held
        to_go[:2] *= np.clip(1.0 - to_go[2] / RISE, 0.0, 1.0)
        return np.asarray(position + to_go)
