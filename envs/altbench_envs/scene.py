"""What a task's own file tells the robosuite adapter: everything that differs from one task to the next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from altbench.api import Float64, TaskInfo
from altbench_envs.placement import Placement

if TYPE_CHECKING:
    from altbench_envs.simulator import Simulator


class Scene(ABC):
    """One robosuite task. Subclasses are final and hold no state; nothing here may import robosuite or mujoco.

    `info`: the task. `robosuite_name`: the name in robosuite's registry; `robots`: one per robot, as robosuite names
    them; `options`: further arguments of robosuite's environment. `cameras`: our camera name -> the model's.
    `workspace`: (low, high), the positions (m, world) that pose actions may name. `placements`: by name; the first is
    the default. `state_bounds`: (low, high) of `environment_state`, each (De,), finite.
    """

    info: ClassVar[TaskInfo]
    robosuite_name: ClassVar[str]
    robots: ClassVar[tuple[str, ...]] = ("Panda",)
    options: ClassVar[Mapping[str, Any]] = {}
    cameras: ClassVar[Mapping[str, str]] = {"agentview": "agentview", "wrist": "robot0_eye_in_hand"}
    workspace: ClassVar[tuple[tuple[float, float, float], tuple[float, float, float]]]
    placements: ClassVar[Mapping[str, Placement]]
    state_bounds: ClassVar[tuple[tuple[float, ...], tuple[float, ...]]]

    @abstractmethod
    def place(self, simulator: Simulator, qpos: Float64, pose: Float64) -> None:
        """Write the object pose (P,) into `qpos` (nq,), at rest."""

    @abstractmethod
    def environment_state(self, simulator: Simulator) -> Float64:
        """What `obs_type="state"` shows of the objects, (De,)."""

    @abstractmethod
    def privileged(self, simulator: Simulator) -> dict[str, Float64]:
        """Object poses for scripted experts: name -> position (3,) or quaternion (4,) xyzw, world frame, m."""
