"""The contracts of demonstrations: one episode, and importing and exporting foreign files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import gymnasium

from altbench.core.task import InitialState, TaskEnv, TaskInfo
from altbench.core.types import ControlMode, Float32, Float64, UInt8


@dataclass(frozen=True)
class Demonstration:
    """One demonstrated episode of T frames; `actions[t]` was executed after `agent_pos[t]` and `pixels[.][t]` were seen.

    `pixels`: camera -> uint8 (T, H, W, 3). `agent_pos`: float32 (T, Dp). `actions`: float32 (T, Da) in `control_mode`.
    `states`: float64 (T, Ds), flattened simulator states. `index`: its number in its file, what `Decision.matches`
    names. `seed`: the demo-stream seed that made it (-1 where unknown); `grid_index`: its grid pose (-1: not on the grid).
    """

    index: int
    pixels: Mapping[str, UInt8]
    agent_pos: Float32
    actions: Float32
    states: Float64
    initial_state: InitialState
    seed: int = -1
    grid_index: int = -1
    success: bool = True
    control_mode: ControlMode = "ee_pose"
    environment_state: Float32 | None = None

    def __len__(self) -> int:
        return int(self.actions.shape[0])


@dataclass(frozen=True)
class JointRanges:
    """Where a joint's numbers stand in a flattened simulator state (Ds,)."""

    positions: slice
    velocities: slice


@dataclass(frozen=True)
class NativeModel:
    """What the simulator itself calls a task and its parts, for files that name those.

    `env_name`: robosuite's name of the task. `robots`: robosuite's, one per arm or with both. `cameras`: our camera ->
    the model's. `joints`: the model's joint -> its ranges in a state of `state_dim` numbers. `xml`: the model, MJCF ("":
    none). `fixed_bodies`: bodies without joints whose x, y and yaw, in this order, are the task's whole pose -> their
    height (m): where they stand is in the model and in `InitialState.object_pose`, not in a state.
    """

    env_name: str
    robots: tuple[str, ...]
    cameras: Mapping[str, str]
    joints: Mapping[str, JointRanges]
    state_dim: int
    xml: str = ""
    fixed_bodies: Mapping[str, float] = field(default_factory=dict)


class RestorableTask(TaskEnv):
    """A task whose states can be told apart into joints, so that states recorded elsewhere can be set."""

    @abstractmethod
    def native_model(self) -> NativeModel:
        """Return the simulator's names."""

    @abstractmethod
    def object_pose(self) -> Float64:
        """Return the task's pose variables (P,) in the present state, as `InitialState.object_pose` has them."""


@dataclass(frozen=True)
class View:
    """What a task shows in one state: `agent_pos` (Dp,), `environment_state` (De,), `object_pose` (P,), whether it is a
    success, and camera -> uint8 (H, W, 3), empty where no images were asked for."""

    agent_pos: Float32
    environment_state: Float32
    object_pose: Float64
    success: bool
    pixels: Mapping[str, UInt8] = field(default_factory=dict)


class StateViewer(Protocol):
    """A task's environment as importers and exporters see it: states go in, what is seen in them comes out."""

    info: TaskInfo

    @property
    def native(self) -> NativeModel:
        """The simulator's own names."""
        ...

    def look(
        self, state: Float64, image_size: tuple[int, int] | None = None, object_pose: Float64 | None = None
    ) -> View:
        """What the task shows in `state` (Ds,); with images of `image_size` (H, W) where that is given.

        `object_pose` (P,): where the task has `native.fixed_bodies`; elsewhere the state tells.
        DatasetError where the state cannot be set."""
        ...

    def after(
        self, state: Float64, action: Float32, control_mode: ControlMode, object_pose: Float64 | None = None
    ) -> Float64:
        """The state (Ds,) one control step after `state` and `action` (Da,); `object_pose` as for `look`."""
        ...

    def environment(self, control_mode: ControlMode, image_size: tuple[int, int]) -> gymnasium.Env[Any, Any]:
        """The task's Gymnasium environment with images, for its spaces and its spec; the viewer closes it."""
        ...


@dataclass(frozen=True)
class ImportOptions:
    """What the user wants of an import.

    `control_mode` None: the file's own. `image_size` (H, W) None: that of the file's images, else 84 by 84. `render`:
    draw images from the states even where the file has some. `model`: the MJCF that the file's states belong to, where
    the file neither holds nor finds it.
    """

    control_mode: ControlMode | None = None
    image_size: tuple[int, int] | None = None
    render: bool = False
    model: Path | None = None


@dataclass(frozen=True)
class Recording:
    """Demonstrations on their way into or out of a foreign file: `episodes` of them, made one by one as they are asked
    for, numbered from 0. `made_with`: what is known of their origin, such as {"recorded with": "robosuite 1.0.0"}."""

    control_mode: ControlMode
    image_size: tuple[int, int]
    episodes: int
    demonstrations: Iterable[Demonstration]
    made_with: Mapping[str, str] = field(default_factory=dict)


class Importer(Protocol):
    """Reads a foreign file; DatasetError where it is damaged or does not fit the task, with both sides in the message."""

    def __call__(self, path: Path, viewer: StateViewer, options: ImportOptions) -> Recording: ...


class Exporter(Protocol):
    """Writes a foreign file or data set named `out` that must not exist yet; returns how to read it, for the user."""

    def __call__(self, recording: Recording, viewer: StateViewer, out: str) -> str: ...
