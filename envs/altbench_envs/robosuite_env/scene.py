"""A task's scene: everything in which one robosuite task differs from another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from altbench.api import ConfigError, Float64, TaskEnv, TaskInfo
from altbench_envs.robosuite_env.placement import Placement
from altbench_envs.robosuite_env.simulator import RobosuiteModel, Simulator


class Scene(ABC):
    """One robosuite task. Subclasses are final and hold no state.

    A scene's module must not import robosuite or mujoco at its top level, because the
    bench imports it to list tasks.

    `info`: the task. `robosuite_name`: the name in robosuite's registry. `robots`:
    robosuite's names, one for each robot. `options`: further arguments of robosuite's
    environment. `cameras`: our camera name -> the model's. `workspace`: (low, high),
    the bounds of a pose action's position (m, world). `placements`: by name; the first
    is the default. `state_bounds`: (low, high) of `environment_state`, each (De,),
    finite.

    `pose_bodies`: the model's bodies whose x, y and yaw are the pose, in order; with
    them, demonstrations from elsewhere can be imported. `fixed_bodies`: those of them
    that have no joint -> their height (m, world). Either all or none are fixed; the
    pose of fixed bodies is written into the model.

    `moved_joints`: the free joints that `reset(options={"move_at": ..., "by": ...})`
    shifts together. The pose's x and y are those of the first. Empty if `info.movable`
    is False.
    """

    info: ClassVar[TaskInfo]
    robosuite_name: ClassVar[str]
    robots: ClassVar[tuple[str, ...]] = ("Panda",)
    options: ClassVar[Mapping[str, Any]] = {}
    cameras: ClassVar[Mapping[str, str]] = {"agentview": "agentview", "wrist": "robot0_eye_in_hand"}
    workspace: ClassVar[tuple[tuple[float, float, float], tuple[float, float, float]]]
    placements: ClassVar[Mapping[str, Placement]]
    state_bounds: ClassVar[tuple[tuple[float, ...], tuple[float, ...]]]
    pose_bodies: ClassVar[tuple[str, ...]] = ()
    fixed_bodies: ClassVar[Mapping[str, float]] = {}
    moved_joints: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        """Name the workspace in the task's description, so that it is stated once."""
        super().__init_subclass__(**options)
        if "info" in vars(cls) and hasattr(cls, "workspace"):
            cls.info = replace(cls.info, workspace=cls.workspace)

    @classmethod
    def make(cls, **options: Any) -> TaskEnv:
        """Make the task's environment; `options` are `RobosuiteEnv`'s."""
        from altbench_envs.robosuite_env.adapter import RobosuiteEnv

        return RobosuiteEnv(cls(), **options)

    def robosuite_model(self) -> RobosuiteModel:
        """Return what robosuite must build."""
        return RobosuiteModel(self.robosuite_name, self.robots, self.options, self.info.control_hz)

    @abstractmethod
    def place(self, simulator: Simulator, qpos: Float64, pose: Float64) -> None:
        """Write the object pose (P,) into `qpos` (nq,), at rest."""

    @abstractmethod
    def environment_state(self, simulator: Simulator) -> Float64:
        """Return what `obs_type="state"` shows of the objects, (De,)."""

    @abstractmethod
    def privileged(self, simulator: Simulator) -> dict[str, Float64]:
        """Return object poses for scripted experts.

        Name -> position (3,), m, or quaternion (4,), xyzw; world frame.
        """

    def object_pose(self, simulator: Simulator) -> Float64:
        """Return the pose (P,) of the present state, the inverse of `place`.

        It consists of x, y and yaw of each of `pose_bodies`. A task with other pose
        variables overrides this method; ConfigError if it does not.
        """
        bodies = [simulator.body(name) for name in self.pose_bodies]
        parts = [(*body.xpos[:2], np.arctan2(body.xmat[3], body.xmat[0])) for body in bodies]
        pose = np.array(parts, dtype=np.float64).reshape(-1)
        if len(pose) != len(self.info.pose_names):
            raise ConfigError(
                f"{self.info.name}: its pose {self.info.pose_names} cannot be read from a simulator state"
            )
        return pose
