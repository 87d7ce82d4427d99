"""A task's environment as importers and exporters see it (`altbench.api.Stage`): states go in, what is seen comes out."""

from __future__ import annotations

from functools import cached_property
from types import TracebackType
from typing import Any, Self

import gymnasium
import numpy as np

from altbench.api import (
    ControlMode,
    Float32,
    Float64,
    InitialState,
    NativeModel,
    RenderProfile,
    RestorableTask,
    TaskInfo,
    View,
)
from altbench.errors import DatasetError


class TaskStage:
    """`altbench.api.Stage` over the environments of one task, each made when it is first needed; use it in a `with`."""

    def __init__(self, info: TaskInfo, render_profile: RenderProfile = "fast") -> None:
        self.info, self._profile = info, render_profile
        self._made: dict[tuple[Any, ...], Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for env in self._made.values():
            env.close()
        self._made.clear()

    @cached_property
    def native(self) -> NativeModel:
        """The simulator's own names."""
        model: NativeModel = self._task.native_model()
        return model

    def look(
        self, state: Float64, image_size: tuple[int, int] | None = None, object_pose: Float64 | None = None
    ) -> View:
        """What the task shows in `state` (Ds,), with `object_pose` (P,) where the state does not tell it; DatasetError
        where the state cannot be set."""
        task, start = self._task, self._start(state, object_pose)
        observation, info = self._restore(task, start)
        agent_pos, seen = observation["agent_pos"], observation["environment_state"]
        if not all(np.isfinite(values).all() for values in (agent_pos, seen, task.sim_state())):
            raise DatasetError("expected a state that the simulator can take up, got one that it cannot")
        pixels = {}
        if image_size is not None:
            pixels = self._restore(self.environment("ee_pose", image_size).unwrapped, start)[0]["pixels"]
        return View(agent_pos, seen, start.object_pose, bool(info["is_success"]), pixels)

    def after(
        self, state: Float64, action: Float32, control_mode: ControlMode, object_pose: Float64 | None = None
    ) -> Float64:
        """The state (Ds,) one control step after `state` and `action` (Da,)."""
        task = self._env(obs_type="state", control_mode=control_mode).unwrapped
        self._restore(task, self._start(state, object_pose))
        task.advance(action)
        reached: Float64 = task.sim_state()
        return reached

    def environment(self, control_mode: ControlMode, image_size: tuple[int, int]) -> Any:
        """The task's Gymnasium environment with images; it is closed with the stage."""
        looks = {"image_size": image_size, "render_profile": self._profile}
        return self._env(obs_type="pixels", control_mode=control_mode, **looks)

    def _start(self, state: Float64, object_pose: Float64 | None) -> InitialState:
        """`state` with its object pose, which only the simulator can read from it, where it is in it at all."""
        if object_pose is not None:
            return InitialState(state, object_pose)
        if self.native.fixed_bodies:
            bodies = ", ".join(self.native.fixed_bodies)
            raise DatasetError(
                f"expected the pose of {bodies}: a state of {self.info.name} does not tell where that is"
            )
        self._restore(self._task, InitialState(state, self._some_pose))
        return InitialState(state, self._task.object_pose())

    @staticmethod
    def _restore(task: Any, start: InitialState) -> Any:
        return task.reset(seed=0, options={"split": "replay", "initial_state": start})

    @cached_property
    def _some_pose(self) -> Float64:
        self._task.reset(seed=0)
        pose: Float64 = self._task.initial_state().object_pose
        return pose

    @property
    def _task(self) -> Any:
        task = self._env(obs_type="state", control_mode="ee_pose").unwrapped
        if not isinstance(task, RestorableTask):
            raise DatasetError(
                f"task {self.info.name}: states from elsewhere cannot be set (no native_model, object_pose)"
            )
        return task

    def _env(self, **options: Any) -> Any:
        key = tuple(sorted(options.items()))
        if key not in self._made:
            self._made[key] = gymnasium.make(self.info.env_id, disable_env_checker=True, **options)
        return self._made[key]
