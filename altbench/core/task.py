"""The contract of a task: what it says of itself, how an episode begins, what its environment and its expert offer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from altbench.core.types import AGENT_POS_DIM, DELTA_ACTION_DIM, POSE_ACTION_DIM, ControlMode, Float32, Float64


@dataclass(frozen=True)
class TaskInfo:
    """What the bench knows of a task without starting a simulator.

    `version` is raised by whoever changes what the task computes. `horizon` counts control steps. `splits` are the values
    that `reset(options={"split": ...})` takes, in order of distance from the demonstrations, as tables show them;
    `grid_size` poses make one pass of demonstrations over the grid.
    `movable`: `reset(options={"move_at": step, "by": metres})` shifts what the task is about just before that control
    step, in a direction drawn from the seed, unless it is held or lifted; `info["moved"]` tells whether it has.
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

    @property
    def env_id(self) -> str:
        """Gymnasium's id for the task."""
        return f"altbench/{self.name}-v0"

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


@runtime_checkable
class SimulatedTask(Protocol):
    """What a task's environment offers beyond Gymnasium's `reset` and `step`; `step` is `advance`, then `observe`."""

    info: TaskInfo

    def advance(self, action: Float32) -> tuple[float, bool, bool, dict[str, Any]]:
        """Execute one action (Da,) for one control step, without rendering: reward, terminated, truncated, info."""
        ...

    def observe(self, pixels: bool = True) -> dict[str, Any]:
        """The present observation; `pixels=False` leaves the images out (an empty dict in their place)."""
        ...

    def initial_state(self) -> InitialState:
        """Where the present episode began."""
        ...

    def sim_state(self) -> Float64:
        """The present flattened simulator state, float64 (Ds,)."""
        ...

    def privileged(self) -> dict[str, Float64]:
        """Object and gripper poses for scripted experts: name -> position (3) or quaternion (4, xyzw), world frame, m."""
        ...


@runtime_checkable
class PoseTask(SimulatedTask, Protocol):
    """A task that knows which pose a delta action leads to, so that a policy of `ee_delta` can demonstrate it."""

    def as_pose(self, action: Float32) -> Float32:
        """The `ee_pose` action with the same goal as the `ee_delta` action has in the present state."""
        ...


class Expert(Protocol):
    """A scripted demonstrator with access to privileged state."""

    def reset(self, env: SimulatedTask, seed: int) -> None:
        """Begin an episode; `seed` draws the style (speed, approach)."""
        ...

    def act(self, env: SimulatedTask) -> Float32:
        """The next `ee_pose` action, float32 (Da,)."""
        ...


FARTHEST_MOVE = 0.5
"""m: an event shifts an object by no more; robosuite's tables are 0.8 m wide."""
