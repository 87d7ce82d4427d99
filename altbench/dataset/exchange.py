"""Demonstrations in foreign formats: into a file of ours, and out of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import gymnasium
import numpy as np

from altbench.core import registry
from altbench.core.demonstration import Demonstration, ImportOptions, NativeModel, Recording, RestorableTask, View
from altbench.core.errors import DatasetError
from altbench.core.task import InitialState, TaskEnv, TaskInfo, task_of
from altbench.core.types import ControlMode, Float32, Float64, Progress, RenderProfile, no_progress
from altbench.dataset import files
from altbench.dataset.files import Dataset
from altbench.dataset.format import DatasetMeta


@dataclass(frozen=True)
class Imported:
    """What came of an import: `left_out` numbers the file's episodes that do not solve the task (not written)."""

    data: Dataset
    left_out: tuple[int, ...]


def import_file(
    path: Path,
    format_name: str,
    task_name: str,
    out: Path,
    options: ImportOptions | None = None,
    *,
    keep_failures: bool = False,
    progress: Progress = no_progress,
) -> Imported:
    """Write the demonstrations of the foreign file `path` to `out`; episodes that fail are left out, and counted.

    DatasetError where `path` is damaged or does not fit the task (both sides in the message), or where `out` exists.
    """
    info, importer = registry.task(task_name), registry.importer(format_name)
    if out.exists():
        raise DatasetError(f"{out}: exists; choose another file, or remove it")
    with TaskStateViewer(info) as viewer:
        recording = importer(path, viewer, options or ImportOptions())
        kept, left_out = _sort(recording, keep_failures, progress)
        if not kept:
            raise DatasetError(
                f"{path}: expected demonstrations that solve {task_name}, got {recording.episodes} that do not"
            )
        files.write(out, _renumbered(kept), _meta(info, recording, kept[0], format_name))
    return Imported(files.read(out), tuple(left_out))


def _sort(recording: Recording, keep_failures: bool, progress: Progress) -> tuple[list[Demonstration], list[int]]:
    kept: list[Demonstration] = []
    left_out: list[int] = []
    for done, made in enumerate(recording.demonstrations, start=1):
        if made.success or keep_failures:
            kept.append(made)
        else:
            left_out.append(made.index)
        progress(done, recording.episodes, {"failed": float(len(left_out))})
    return kept, left_out


def _renumbered(demonstrations: Sequence[Demonstration]) -> Iterator[Demonstration]:
    return (replace(d, index=i) for i, d in enumerate(demonstrations))


def _meta(info: TaskInfo, recording: Recording, first: Demonstration, format_name: str) -> DatasetMeta:
    """Settings of a file of imported demonstrations: off the grid, of no seed of ours."""
    state = first.environment_state
    values = {
        "task": info.name,
        "task_version": info.version,
        "env_id": info.env_id,
        "control_mode": recording.control_mode,
        "control_hz": info.control_hz,
        "image_size": recording.image_size,
        "cameras": info.cameras,
        "pose_names": info.pose_names,
        "action_dim": info.action_dim(recording.control_mode),
        "agent_pos_dim": info.agent_pos_dim,
        "state_dim": first.states.shape[1],
        "environment_state_dim": 0 if state is None else state.shape[1],
        "placement": "uniform",
        "grid_size": info.grid_size,
        "root_seed": 0,
        "versions": {
            **{name: version(name) for name in ("mujoco", "robosuite")},
            "imported from": format_name,
            **recording.made_with,
        },
    }
    return DatasetMeta.parse(values, "demonstrations to import")


def export_file(path: Path, format_name: str, out: str, progress: Progress = no_progress) -> str:
    """Write the demonstrations of our file `path` in a foreign format as `out`; how to read them, for the user."""
    exporter = registry.exporter(format_name)
    found = files.read(path)
    meta = found.meta

    def each() -> Iterator[Demonstration]:
        for done, demonstration in enumerate(found.demonstrations, start=1):
            yield demonstration
            progress(done, len(found), {"failed": 0.0})

    recording = Recording(meta.control_mode, meta.image_size, len(found), each(), meta.versions)
    with TaskStateViewer(registry.task(meta.task), meta.render_profile) as viewer:
        return exporter(recording, viewer, out)


class TaskStateViewer:
    """`altbench.api.StateViewer` over one task's environments, each made when it is first needed; use it in a `with`."""

    def __init__(self, info: TaskInfo, render_profile: RenderProfile = "fast") -> None:
        self.info, self._profile = info, render_profile
        self._made: dict[tuple[Any, ...], gymnasium.Env[Any, Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for env in self._made.values():
            env.close()
        self._made.clear()

    @cached_property
    def native(self) -> NativeModel:
        """The simulator's own names."""
        return self._task.native_model()

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
            pixels = self._restore(task_of(self.environment("ee_pose", image_size)), start)[0]["pixels"]
        return View(agent_pos, seen, start.object_pose, bool(info["is_success"]), pixels)

    def after(
        self, state: Float64, action: Float32, control_mode: ControlMode, object_pose: Float64 | None = None
    ) -> Float64:
        """The state (Ds,) one control step after `state` and `action` (Da,)."""
        task = task_of(self._env(obs_type="state", control_mode=control_mode))
        self._restore(task, self._start(state, object_pose))
        task.advance(action)
        return task.sim_state()

    def environment(self, control_mode: ControlMode, image_size: tuple[int, int]) -> gymnasium.Env[Any, Any]:
        """The task's Gymnasium environment with images; it is closed with the viewer."""
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
