"""The contracts of demonstrations: an episode; import and export of foreign files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import gymnasium

from altbench.core.task import InitialState, TaskEnv, TaskInfo
from altbench.core.types import ControlMode, Float32, Float64, UInt8


@dataclass(frozen=True)
class Demonstration:
    """One demonstrated episode of T frames.

    The action `actions[t]` was executed after `agent_pos[t]` and `pixels[.][t]` were
    observed.

    `pixels`: camera -> uint8 (T, H, W, 3). `agent_pos`: float32 (T, Dp). `actions`:
    float32 (T, Da) in `control_mode`. `states`: float64 (T, Ds), flattened simulator
    states. `index`: the demonstration's number in its file, to which `Decision.matches`
    refers. `seed`: the seed of the demo stream that made it; -1 if unknown.
    `grid_index`: its pose on the grid; -1 if it is not on the grid.
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
    """The ranges of a joint's numbers in a flattened simulator state (Ds,)."""

    positions: slice
    velocities: slice


@dataclass(frozen=True)
class NativeModel:
    """The simulator's own names of a task and its parts, for files that contain them.

    `env_name`: robosuite's name of the task. `robots`: robosuite's names of the robots.
    `cameras`: our camera -> the model's camera. `joints`: the model's joint -> its
    ranges in a state of `state_dim` numbers. `xml`: the model as MJCF; empty if
    unknown.

    `fixed_bodies`: bodies without joints -> their height (m). Their x, y and yaw, in
    this order, are the task's whole pose. A state does not contain them; they stand in
    the model and in `InitialState.object_pose`.
    """

    env_name: str
    robots: tuple[str, ...]
    cameras: Mapping[str, str]
    joints: Mapping[str, JointRanges]
    state_dim: int
    xml: str = ""
    fixed_bodies: Mapping[str, float] = field(default_factory=dict)


class RestorableTask(TaskEnv):
    """A task that describes its states by joints, so that foreign states can be set."""

    @abstractmethod
    def native_model(self) -> NativeModel:
        """Return the simulator's names."""

    @abstractmethod
    def object_pose(self) -> Float64:
        """Return the pose variables (P,) of the present state.

        They have the order of `InitialState.object_pose`.
        """


@dataclass(frozen=True)
class View:
    """A task in one state, as an observer sees it.

    `agent_pos` (Dp,), `environment_state` (De,), `object_pose` (P,), and whether the
    state is a success. `pixels`: camera -> uint8 (H, W, 3); empty if no images were
    requested.
    """

    agent_pos: Float32
    environment_state: Float32
    object_pose: Float64
    success: bool
    pixels: Mapping[str, UInt8] = field(default_factory=dict)


class StateViewer(Protocol):
    """A task's environment for importers and exporters: it shows a given state."""

    info: TaskInfo

    @property
    def native(self) -> NativeModel:
        """The simulator's own names."""
        ...

    def look(
        self, state: Float64, image_size: tuple[int, int] | None = None, object_pose: Float64 | None = None
    ) -> View:
        """Return the view of `state` (Ds,).

        `image_size` (H, W): with images of this size; None means without. `object_pose`
        (P,): required if the task has `native.fixed_bodies`. Other tasks read the pose
        from the state. Raises DatasetError if the state cannot be set.
        """
        ...

    def after(
        self, state: Float64, action: Float32, control_mode: ControlMode, object_pose: Float64 | None = None
    ) -> Float64:
        """Return the state (Ds,) one control step after `state` and `action` (Da,).

        `object_pose`: as in `look`.
        """
        ...

    def environment(self, control_mode: ControlMode, image_size: tuple[int, int]) -> gymnasium.Env[Any, Any]:
        """Return the task's Gymnasium environment with images.

        It serves for its spaces and its spec. The viewer closes it.
        """
        ...


@dataclass(frozen=True)
class ImportOptions:
    """The user's options of an import.

    `control_mode`: None means the file's own. `image_size` (H, W): None means the size
    of the file's images, or 84 by 84 if the file has none. `render`: draw images from
    the states even if the file contains images. `model`: the MJCF file to which the
    states belong, if the foreign file neither contains nor names it. `filter`: the
    name of a subset of the file, such as robomimic's filter key "train".
    """

    control_mode: ControlMode | None = None
    image_size: tuple[int, int] | None = None
    render: bool = False
    model: Path | None = None
    filter: str | None = None


@dataclass(frozen=True)
class Recording:
    """Demonstrations on their way into or out of a foreign file.

    `demonstrations`: `episodes` of them, numbered from 0, each made when the iteration
    reaches it. `made_with`: what is known of their origin, such as {"recorded with":
    "robosuite 1.0.0"}. `names`: the episodes' names in the file, by number; empty if
    they have none.

    An importer adds to these while `demonstrations` is iterated. `unusable`: the name
    of an episode that holds NaN -> the reason; it has no demonstration. `rewarded`:
    numbers of the demonstrations whose success no state shows, only their rewards.
    """

    control_mode: ControlMode
    image_size: tuple[int, int]
    episodes: int
    demonstrations: Iterable[Demonstration]
    made_with: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    unusable: dict[str, str] = field(default_factory=dict)
    rewarded: set[int] = field(default_factory=set)


class Importer(Protocol):
    """A function that reads a foreign file.

    It raises DatasetError if the file is damaged or does not fit the task; the message
    names both sides.
    """

    def __call__(self, path: Path, viewer: StateViewer, options: ImportOptions) -> Recording: ...


@dataclass(frozen=True)
class Recognised:
    """What a foreign file says of itself.

    `words`: the file's own, for the user to read. `task`: the task of ours that they
    name; empty if they name none.
    """

    words: str
    task: str = ""


class Recogniser(Protocol):
    """A function that reads a file's own words; None if it is not of its format."""

    def __call__(self, path: Path, /) -> Recognised | None: ...


_Any = TypeVar("_Any", bound=Importer)


def recognised_by(recogniser: Recogniser) -> Callable[[_Any], _Any]:
    """Return a decorator that gives an importer its recogniser.

    With it `altbench demos import` needs no --format, and no --task if the file tells.
    """

    def add(importer: _Any) -> _Any:
        setattr(importer, RECOGNISER, recogniser)
        return importer

    return add


RECOGNISER = "recogniser"
"""The attribute of an importer that has a recogniser."""


class Exporter(Protocol):
    """A function that writes a foreign file or data set named `out`.

    `out` must not exist yet. Returns a text that explains to the user how to read it.
    A format with images in two forms also takes `lossless: bool` by name.
    """

    def __call__(self, recording: Recording, viewer: StateViewer, out: str) -> str: ...
