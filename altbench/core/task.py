"""The contract of a task: its description, its environment, and its expert."""

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

    `version`: raise it when what the task computes changes. `horizon`: control steps.
    `splits`: the values that `reset(options={"split": ...})` accepts, in order of
    distance from the demonstrations, as tables show them. `grid_size`: the number of
    poses in one pass of demonstrations over the grid. `midpoints`: the number of poses
    of the split `interpolate`, which its episodes take in turn; 0: each has its own.

    `movable`: whether `reset(options={"move_at": step, "by": metres})` shifts the
    task's object just before that control step, in a direction drawn from the seed. An
    object that is held or lifted is not shifted; `info["moved"]` records whether it
    was. `"move_to": object_pose` in place of `by` puts it at that pose.

    `workspace`: (low, high), the bounds of a pose action's position (m, world); None if
    unknown.

    `instruction`: the task in words, for policies that read them: "lift the cube".
    """

    name: str
    version: int
    horizon: int
    grid_size: int
    pose_names: tuple[str, ...]
    splits: tuple[str, ...] = ("replay", "recall", "uniform", "grid")
    cameras: tuple[str, ...] = ("agentview", "wrist")
    arms: int = 1
    control_hz: float = 20.0
    movable: bool = False
    workspace: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    midpoints: int = 0
    instruction: str = ""

    @property
    def env_id(self) -> str:
        """Gymnasium's id for the task."""
        return env_id(self.name)

    @property
    def agent_pos_dim(self) -> int:
        """The length of `agent_pos`, Dp."""
        return self.arms * AGENT_POS_DIM

    def action_dim(self, control_mode: ControlMode = "ee_pose") -> int:
        """Return the length of one action, Da."""
        return self.arms * (POSE_ACTION_DIM if control_mode == "ee_pose" else DELTA_ACTION_DIM)


@dataclass(frozen=True)
class InitialState:
    """The state in which a demonstration began, enough to begin there again.

    `sim_state`: the flattened simulator state (time, qpos, qvel), float64 (Ds,).
    `object_pose`: the task's pose variables (`TaskInfo.pose_names`), float64 (P,);
    metres and radians in the world frame.
    """

    sim_state: Float64
    object_pose: Float64


class TaskEnv(gymnasium.Env[dict[str, Any], Float32], ABC):
    """A task's Gymnasium environment.

    It has `reset`, the five abstract methods below, and `step`, which is `advance`
    followed by `observe`. `info`: the task's description. `control_mode`: the meaning
    of an action. `reset` raises ConfigError for options that it does not know.
    """

    info: TaskInfo
    control_mode: ControlMode = "ee_pose"

    @property
    def episode_limit(self) -> int | None:
        """The control steps after which `advance` truncates; None: it never does.

        It is the horizon, or what `gymnasium.make(..., max_episode_steps=)` said.
        """
        limit: int | None = getattr(self, "_episode_limit", self.info.horizon)
        return limit

    @episode_limit.setter
    def episode_limit(self, steps: int | None) -> None:
        self._episode_limit = steps

    @property
    def _max_episode_steps(self) -> int | None:
        """The same limit under the name that Gymnasium's TimeLimit gives it.

        LeRobot asks vector environments for it, also those made without a TimeLimit.
        """
        return self.episode_limit

    def is_over(self, steps: int) -> bool:
        """Return whether an episode is truncated after `steps` control steps."""
        return self.episode_limit is not None and steps >= self.episode_limit

    @classmethod
    def make(cls, **options: Any) -> Self:
        """Make the environment; `options` are the constructor's.

        `registry.register` expects this method of a task's class.
        """
        return cls(**options)

    @abstractmethod
    def advance(self, action: Float32) -> tuple[float, bool, bool, dict[str, Any]]:
        """Execute one action (Da,) for one control step, without rendering.

        Returns reward, terminated, truncated (`is_over` tells when), info.
        """

    @abstractmethod
    def observe(self, pixels: bool = True) -> dict[str, Any]:
        """Return the present observation.

        `pixels=False` replaces the images by an empty dict.
        """

    @abstractmethod
    def initial_state(self) -> InitialState:
        """Return the state in which the present episode began."""

    @abstractmethod
    def sim_state(self) -> Float64:
        """Return the present flattened simulator state, float64 (Ds,)."""

    @abstractmethod
    def privileged(self) -> dict[str, Float64]:
        """Return object and gripper poses for scripted experts.

        Name -> position (3,), m, or quaternion (4,), xyzw; world frame.
        """

    def step(self, action: Float32) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Execute one action (Da,), then observe with images."""
        reward, terminated, truncated, info = self.advance(action)
        return self.observe(), reward, terminated, truncated, info


class PoseTask(TaskEnv):
    """A task that computes the pose to which a delta action leads.

    A policy that acts in `ee_delta` can demonstrate it.
    """

    @abstractmethod
    def as_pose(self, action: Float32) -> Float32:
        """Return the `ee_pose` action with the same goal as an `ee_delta` action.

        The goal depends on the present state.
        """


class DeltaTask(TaskEnv):
    """A task that computes the delta action that aims at a pose.

    A policy that acts in `ee_delta` can learn from demonstrations in `ee_pose`.
    """

    @abstractmethod
    def as_delta(self, actions: Float32, agent_pos: Float32) -> Float32:
        """Return the `ee_delta` actions with the same goals as `ee_pose` actions.

        `actions` (T, Da), each taken after `agent_pos` (T, Dp) was observed. The result
        is not clipped: a goal is within reach of one control step if all its numbers
        are in [-1, 1].
        """


def task_of(env: gymnasium.Env[Any, Any]) -> TaskEnv:
    """Return the task behind Gymnasium's wrappers; ContractError if it is not one."""
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
        """Begin an episode; `seed` determines the style (speed, approach)."""
        ...

    def act(self, env: TaskEnv) -> Float32:
        """Return the next `ee_pose` action, float32 (Da,)."""
        ...


FARTHEST_MOVE = 0.5
"""The farthest distance (m) of an event's shift; robosuite's tables are 0.8 m wide."""
