"""The contract of a task: what it says of itself, how an episode begins, what its environment and its expert offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol, Self

import gymnasium

from altbench.core.errors import ContractError
from altbench.core.types import AGENT_POS_DIM, DELTA_ACTION_DIM, POSE_ACTION_DIM, ControlMode, Float32, Float64


def env_id(task: str) -> str:
    """Return Gymnasium's id for the task named `task`."""
    return f"altbench/{task}-v0"


@dataclass(frozen=True)
class TaskInfo:
    """What the bench knows of a task without starting a simulator.

    `version` is raised by whoever changes what the task computes. `horizon` counts control steps. `splits` are the values
    that `reset(options={"split": ...})` takes; `grid_size` poses make one pass of demonstrations over the grid.
    `movable`: `reset(options={"move_at": step, "by": metres})` shifts what the task is about just before that control
    step, in a direction drawn from the seed, unless it is held or lifted; `info["moved"]` tells whether it has.
    """

    name: str
    version: int
    horizon: int
    grid_size: int
    pose_names: tuple[str, ...]
    splits: tuple[str, ...] = ("uniform", "grid", "recall", "replay")
    cameras: tuple[str, ...] = ("agentview", "wrist")
    arms: int = 1
    control_hz: float = 20.0
    movable: bool = False

    @property
    def env_id(self) -> str:
        """Gymnasium's id for the task."""
        return env_id(self.name)

    @property
    def agent_pos_dim(self) -> int:
        """Dp: length of `agent_pos`."""
        return self.arms * AGENT_POS_DIM

    def action_dim(self, control_mode: ControlMode = "ee_pose") -> int:
        """Da: length of one action."""
        return self.arms * (POSE_ACTION_DIM if control_mode == "ee_pose" else DELTA_ACTION_DIM)


@dataclass(frozen=True)
class InitialState:
    """Where a demonstration began, enough to begin there again.

    `sim_state` is the flattened simulator state (time, qpos, qvel; float64 (Ds,)); `object_pose` the task's own pose
    variables (`TaskInfo.pose_names`; metres and radians in the world; float64 (P,)).
    """

    sim_state: Float64
    object_pose: Float64


class TaskEnv(gymnasium.Env[dict[str, Any], Float32], ABC):
    """A task's Gymnasium environment: `reset`, the five methods below, and `step`, which is `advance`, then `observe`.

    `info`: the task. `control_mode`: what an action means. `reset` refuses options that it does not know (ConfigError).
    """

    info: TaskInfo
    control_mode: ControlMode = "ee_pose"

    @classmethod
    def make(cls, **options: Any) -> Self:
        """Make the environment with `options`, its constructor's; what `registry.register` needs of a task's class."""
        return cls(**options)

    @abstractmethod
    def advance(self, action: Float32) -> tuple[float, bool, bool, dict[str, Any]]:
        """Execute one action (Da,) for one control step, without rendering: reward, terminated, truncated, info."""

    @abstractmethod
    def observe(self, pixels: bool = True) -> dict[str, Any]:
        """Return the present observation; `pixels=False` leaves the images out (an empty dict in their place)."""

    @abstractmethod
    def initial_state(self) -> InitialState:
        """Return where the present episode began."""

    @abstractmethod
    def sim_state(self) -> Float64:
        """Return the present flattened simulator state, float64 (Ds,)."""

    @abstractmethod
    def privileged(self) -> dict[str, Float64]:
        """Return object and gripper poses for scripted experts: name -> position (3) or quaternion (4, xyzw), world, m."""

    def step(self, action: Float32) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Execute one action (Da,), then observe with images."""
        reward, terminated, truncated, info = self.advance(action)
        return self.observe(), reward, terminated, truncated, info


class PoseTask(TaskEnv):
    """A task that knows which pose a delta action leads to, so that a policy of `ee_delta` can demonstrate it."""

    @abstractmethod
    def as_pose(self, action: Float32) -> Float32:
        """Return the `ee_pose` action with the same goal as the `ee_delta` action has in the present state."""


def task_of(env: gymnasium.Env[Any, Any]) -> TaskEnv:
    """Return the task behind Gymnasium's wrappers; ContractError if it is not a `TaskEnv`."""
    task = env.unwrapped
    if not isinstance(task, TaskEnv):
        raise ContractError(
            f"expected an environment derived from altbench.api.TaskEnv, got {type(task).__name__}; "
            "derive it, and implement info, advance, observe, initial_state, sim_state and privileged"
        )
    return task


class Expert(Protocol):
    """A scripted demonstrator with access to privileged state."""

    def reset(self, env: TaskEnv, seed: int) -> None:
        """Begin an episode; `seed` draws the style (speed, approach)."""
        ...

    def act(self, env: TaskEnv) -> Float32:
        """The next `ee_pose` action, float32 (Da,)."""
        ...


FARTHEST_MOVE = 0.5
"""m: an event shifts an object by no more; robosuite's tables are 0.8 m wide."""
