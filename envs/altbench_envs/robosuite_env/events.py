"""An event in mid-episode: the task's object is shifted, as if it were pushed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from altbench.api import FARTHEST_MOVE, ConfigError, Float64, TaskInfo
from altbench_envs.robosuite_env.placement import Placement
from altbench_envs.robosuite_env.scene import Scene
from altbench_envs.robosuite_env.simulator import Simulator

MOVE_OPTIONS = ("move_at", "by", "move_to")
DIRECTIONS = 64
"""How many directions are drawn for each event and tried in turn."""
OFF_SUPPORT = 0.01
"""The distance (m) from its first height at which an object no longer rests there."""
DEEP = 0.001
"""The depth (m) of an overlap; an object at rest sinks in less."""


def requested_move(options: Mapping[str, Any], task: TaskInfo) -> tuple[int, float] | None:
    """Return (control step, metres) of `options["move_at"]` and `options["by"]`.

    None without them. Raises ConfigError for wrong values.
    """
    given = [key for key in MOVE_OPTIONS[:2] if key in options]
    if not given or "move_to" in options:
        return None
    if not task.movable:
        raise ConfigError(
            f"{' and '.join(given)}: {task.name} has nothing that can be shifted in mid-episode (TaskInfo.movable)"
        )
    if len(given) == 1:
        raise ConfigError(f"expected both or neither of move_at (a control step) and by (metres), got {given[0]} alone")
    step, by = options["move_at"], options["by"]
    _check_step(step, task)
    number = isinstance(by, (int, float, np.integer, np.floating)) and not isinstance(by, bool)
    if not number or not 0 < by <= FARTHEST_MOVE:
        raise ConfigError(f"by: expected a distance over 0 and up to {FARTHEST_MOVE} (m), got {by!r}")
    return int(step), float(by)


def requested_place(options: Mapping[str, Any], task: TaskInfo) -> tuple[int, Float64] | None:
    """Return (control step, object pose) of `options["move_at"]` and `options["move_to"]`.

    None without the second. Raises ConfigError for wrong values.
    """
    if "move_to" not in options:
        return None
    if not task.movable:
        raise ConfigError(f"move_to: {task.name} has nothing that can be moved in mid-episode (TaskInfo.movable)")
    if "by" in options or "move_at" not in options:
        raise ConfigError("move_to: expected move_at (a control step) beside it, and not by (metres)")
    _check_step(options["move_at"], task)
    pose = np.asarray(options["move_to"])
    if pose.dtype.kind not in "fiu" or pose.shape != (len(task.pose_names),) or not np.isfinite(pose).all():
        raise ConfigError(f"move_to: expected an object pose of {len(task.pose_names)} numbers, {task.pose_names}")
    return int(options["move_at"]), pose.astype(np.float64)


def _check_step(step: object, task: TaskInfo) -> None:
    if isinstance(step, bool) or not isinstance(step, (int, np.integer)) or not 0 <= step < task.horizon:
        raise ConfigError(f"move_at: expected a control step from 0 to {task.horizon - 1}, got {step!r}")


class Move:
    """One episode's event: just before control step `at`, `scene.moved_joints` are elsewhere.

    Everything else stays; the velocities of the moved joints become zero. Nothing
    happens, and `moved` stays False, if a gripper touches an object to be moved, if an
    object has left the height at which it began (lifted, stacked, fallen), or if its new
    place is taken.
    """

    def __init__(self, simulator: Simulator, scene: Scene, at: int) -> None:
        self.at, self.moved = at, False
        self._simulator, self._scene = simulator, scene
        joints = [simulator.model.joint(name) for name in scene.moved_joints]
        self._positions = [int(joint.qposadr[0]) for joint in joints]
        self._velocities = [int(joint.dofadr[0]) for joint in joints]
        self._bodies = [int(joint.bodyid[0]) for joint in joints]
        self._heights = self._height()
        self._scratch: Any = None  # MuJoCo's data of what would be; made when it is needed

    def happen(self) -> None:
        """Move the objects if possible, and set `moved`."""
        if self._held() or np.abs(self._height() - self._heights).max() > OFF_SUPPORT:
            return
        after = self._elsewhere()
        if after is None:
            return
        import mujoco

        data = self._simulator.data
        data.qpos[:] = after
        for address in self._velocities:
            data.qvel[address : address + 6] = 0.0
        mujoco.mj_forward(self._simulator.model, data)
        self.moved = True

    def _elsewhere(self) -> Float64 | None:
        """Return the joint positions (nq,) after the event; None if nothing is to happen."""
        raise NotImplementedError

    def _height(self) -> Float64:
        heights: Float64 = self._simulator.data.qpos[[address + 2 for address in self._positions]]
        return heights

    def _overlaps(self, qpos: Float64) -> bool:
        return any(distance < -DEEP for _, distance in self._touching(qpos))

    def _held(self) -> bool:
        """Return whether a gripper or arm touches an object to be moved."""
        model = self._simulator.model
        robots = {int(model.body_rootid[model.site_bodyid[arm.site]]) for arm in self._simulator.arms}
        return any(body in robots for body, _ in self._touching(self._simulator.data.qpos))

    def _touching(self, qpos: Float64) -> list[tuple[int, float]]:
        """Return what would touch the moved bodies at `qpos`.

        A list of (the other's outermost body, distance in m, negative inside).
        """
        import mujoco

        model = self._simulator.model
        if self._scratch is None:
            self._scratch = mujoco.MjData(model)
        self._scratch.qpos[:] = qpos
        mujoco.mj_fwdPosition(model, self._scratch)
        found = []
        for contact in self._scratch.contact:
            one, other = (int(model.body_rootid[model.geom_bodyid[geom]]) for geom in contact.geom)
            if (one in self._bodies) != (other in self._bodies):
                found.append((other if one in self._bodies else one, float(contact.dist)))
        return found


class Relocation(Move):
    """A move to the object pose `to` (P,), as if an episode had begun there."""

    def __init__(self, simulator: Simulator, scene: Scene, at: int, to: Float64) -> None:
        super().__init__(simulator, scene, at)
        self._to = to

    def _elsewhere(self) -> Float64 | None:
        after: Float64 = self._simulator.data.qpos.copy()
        self._scene.place(self._simulator, after, self._to)
        return None if self._overlaps(after) else after


class Shift(Move):
    """A move by `by` metres of all objects together. Heights and orientations stay.

    Directions are drawn from `rng`. A direction must keep the pose possible, within the
    workspace, and clear of other objects. The first that stays within the placement's
    range is taken; if no direction does, the one that ends nearest to the range. Nothing
    happens if no direction remains.
    """

    def __init__(
        self, simulator: Simulator, scene: Scene, placement: Placement, at: int, by: float, rng: np.random.Generator
    ) -> None:
        super().__init__(simulator, scene, at)
        self._placement = placement
        angles = rng.uniform(-np.pi, np.pi, DIRECTIONS)
        self._steps = by * np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def _elsewhere(self) -> Float64 | None:
        step = self._choose()
        return None if step is None else self._after(step)

    def _after(self, step: Float64) -> Float64:
        """Return joint positions (nq,), the moved joints shifted by `step` (2,), m."""
        qpos: Float64 = self._simulator.data.qpos.copy()
        for address in self._positions:
            qpos[address : address + 2] += step
        return qpos

    def _choose(self) -> Float64 | None:
        """Return the step (2,) to take; None if no direction is free."""
        pose = self._scene.object_pose(self._simulator)
        low, high = np.array(self._placement.low[:2]), np.array(self._placement.high[:2])
        nearest, least = None, np.inf
        for step in self._steps:
            place = pose[:2] + step
            outside = float(np.linalg.norm(np.maximum(np.maximum(place - high, low - place), 0.0)))
            fits = self._placement.valid(np.concatenate([place, pose[2:]]))
            if outside >= least or not fits or not self._reachable(place) or self._overlaps(self._after(step)):
                continue
            nearest, least = step, outside
            if outside == 0.0:
                break
        return nearest

    def _reachable(self, place: Float64) -> bool:
        low, high = (np.array(corner[:2]) for corner in self._scene.workspace)
        return bool(np.all((low <= place) & (place <= high)))
