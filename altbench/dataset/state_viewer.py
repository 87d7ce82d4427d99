"""What a task shows in recorded states: for importers, and for checks of files."""

from __future__ import annotations

from functools import cached_property
from types import TracebackType
from typing import Any, Self

import gymnasium
import numpy as np

from altbench.core.demonstration import NativeModel, RestorableTask, View
from altbench.core.errors import DatasetError, SimulationDiverged
from altbench.core.task import InitialState, TaskEnv, TaskInfo, task_of
from altbench.core.types import ControlMode, Float32, Float64, RenderProfile


class TaskStateViewer:
    """An `altbench.api.StateViewer` of a task's environments. Use it in a `with` block.

    Each environment is made when it is first needed.
    """

    def __init__(self, info: TaskInfo, render_profile: RenderProfile = "fast") -> None:
        self.info, self._profile = info, render_profile
        self._made: dict[tuple[Any, ...], gymnasium.Env[Any, Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for env in self._made.values():
            env.close()
        self._made.clear()

    @property
    def can_look(self) -> bool:
        """Whether the task's states can be set."""
        return isinstance(task_of(self._env(obs_type="state", control_mode="ee_pose")), RestorableTask)

    @cached_property
    def native(self) -> NativeModel:
        """The simulator's own names."""
        return self._task.native_model()

    def look(
        self, state: Float64, image_size: tuple[int, int] | None = None, object_pose: Float64 | None = None
    ) -> View:
        """Return what the task shows in `state` (Ds,).

        With images if `image_size` (H, W) is given. `object_pose` (P,): needed if the
        state does not contain it. DatasetError if the state cannot be set.
        """
        task, start = self._task, self._start(state, object_pose)
        observation, info = self._restore(task, start)
        agent_pos, seen = observation["agent_pos"], observation["environment_state"]
        if not all(np.isfinite(values).all() for values in (agent_pos, seen, task.sim_state())):
            raise DatasetError("expected a state that can be set in the simulator, got one that gives NaN or infinity")
        pixels = {}
        if image_size is not None:
            pixels = self._restore(task_of(self.environment("ee_pose", image_size)), start)[0]["pixels"]
        return View(agent_pos, seen, start.object_pose, bool(info["is_success"]), pixels)

    def after(
        self, state: Float64, action: Float32, control_mode: ControlMode, object_pose: Float64 | None = None
    ) -> Float64:
        """Return the state (Ds,) one control step after `state` and `action` (Da,).

        DatasetError if the simulation diverges.
        """
        task = task_of(self._env(obs_type="state", control_mode=control_mode))
        self._restore(task, self._start(state, object_pose))
        try:
            task.advance(action)
        except SimulationDiverged as error:
            raise DatasetError(f"expected an action that can be simulated, got one after which {error}") from error
        return task.sim_state()

    def environment(self, control_mode: ControlMode, image_size: tuple[int, int]) -> gymnasium.Env[Any, Any]:
        """Return the task's Gymnasium environment with images; the viewer closes it."""
        style = {"image_size": image_size, "render_profile": self._profile}
        return self._env(obs_type="pixels", control_mode=control_mode, **style)

    def _start(self, state: Float64, object_pose: Float64 | None) -> InitialState:
        """Return `state` as an initial state, with its object pose.

        If `object_pose` is None the simulator reads it from the state.
        """
        if object_pose is not None:
            return InitialState(state, object_pose)
        if self.native.fixed_bodies:
            bodies = ", ".join(self.native.fixed_bodies)
            raise DatasetError(
                f"expected the pose of {bodies}, which a state of {self.info.name} does not contain; got none"
            )
        self._restore(self._task, InitialState(state, self._some_pose))
        return InitialState(state, self._task.object_pose())

    @staticmethod
    def _restore(task: TaskEnv, start: InitialState) -> tuple[dict[str, Any], dict[str, Any]]:
        return task.reset(seed=0, options={"split": "replay", "initial_state": start})

    @cached_property
    def _some_pose(self) -> Float64:
        self._task.reset(seed=0)
        return self._task.initial_state().object_pose

    @property
    def _task(self) -> RestorableTask:
        task = task_of(self._env(obs_type="state", control_mode="ee_pose"))
        if not isinstance(task, RestorableTask):
            raise DatasetError(
                f"task {self.info.name}: states from elsewhere cannot be set (no native_model, object_pose)"
            )
        return task

    def _env(self, **options: Any) -> gymnasium.Env[Any, Any]:
        key = tuple(sorted(options.items()))
        if key not in self._made:
            self._made[key] = gymnasium.make(self.info.env_id, disable_env_checker=True, **options)
        return self._made[key]
