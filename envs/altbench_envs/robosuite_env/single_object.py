"""The scene of a task with one object, which Lift, Can and Square share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from altbench.api import Float64
from altbench_envs.robosuite_env.objects import OBJECT_HIGH, OBJECT_LOW, park, place_flat, seen_object
from altbench_envs.robosuite_env.scene import Scene
from altbench_envs.robosuite_env.simulator import Simulator


class SingleObjectScene(Scene):
    """A scene whose pose is (x, y, yaw) of one object on a level surface.

    The object is the only body of `pose_bodies` and the only joint of `moved_joints`.
    `unused`: joints of robosuite's objects that the task does not use -> the height (m)
    at which each rests on the floor, out of sight.

    `environment_state` (12,): object position (3), object rot6d (6), from the grip site
    to the object (3); m, world.
    """

    state_bounds = (OBJECT_LOW, OBJECT_HIGH)
    unused: ClassVar[Mapping[str, float]] = {}

    @abstractmethod
    def resting_height(self, simulator: Simulator) -> float:
        """Return the height (m, world) of the object's centre at rest."""

    def place(self, simulator: Simulator, qpos: Float64, pose: Float64) -> None:
        """Write the object's pose (x, y, yaw) into `qpos`, at rest.

        Unused objects stand out of sight.
        """
        x, y, yaw = pose
        place_flat(simulator, qpos, self.moved_joints[0], (x, y, self.resting_height(simulator), yaw))
        park(simulator, qpos, self.unused)

    def environment_state(self, simulator: Simulator) -> Float64:
        """Return object position (3), object rot6d (6), grip site to object (3)."""
        return seen_object(simulator, self.pose_bodies[0])
