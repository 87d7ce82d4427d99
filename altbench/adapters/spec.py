"""An adapter's settings: what a policy takes and answers, where that is not as ours.

Every default is our own convention (docs/actions-and-observations.md). So an empty file
is the adapter that changes nothing, and each key that stands in one says how the policy
differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import pydantic

from altbench.core.errors import ConfigError, suggestion
from altbench.core.policy import Requirements
from altbench.core.spec import Spec, read_toml
from altbench.core.task import TaskInfo

Order = Literal["rgb", "bgr"]
Layout = Literal["hwc", "chw"]
Range = Literal["0..255", "0..1", "-1..1"]
Part = Literal["position", "rotation", "fingers"]
Rotation = Literal[
    "rot6d",
    "rot6d_rows",
    "rot6d_interleaved",
    "quat_xyzw",
    "quat_wxyz",
    "rotvec",
    "euler_xyz",
    "euler_zyx",
    "euler_xyz_intrinsic",
    "euler_zyx_intrinsic",
]
Unit = Literal["m", "cm", "mm"]
Scale = Literal["m", "cm", "mm", "controller", "min_max"]
Tool = Literal["grip_site", "hand"]
Reference = Literal["absolute", "pose", "previous", "step"]
Frame = Literal["world", "base", "end_effector"]
Pixels = Annotated[int, pydantic.Field(ge=8, le=4096)]
Point = tuple[float, float, float]
FREQUENCIES = (1.0, 0.5, 2.0)
"""Answers in a control step."""
FURTHEST_OFFSET = 8
"""Control steps by which a policy's first answer may lie beside the present one."""


class Images(Spec):
    """The images that the policy takes.

    `order`: of the colours. `layout`: height, width, colour, or colour first. `range`:
    "0..255" are uint8, the others float32. `flip_vertical`: its row 0 is the bottom of
    the picture. `flip_horizontal`: left and right are exchanged. `size`: (height,
    width) in pixels; None: as the bench draws them.
    """

    order: Order = "rgb"
    layout: Layout = "hwc"
    range: Range = "0..255"
    flip_vertical: bool = False
    flip_horizontal: bool = False
    size: tuple[Pixels, Pixels] | None = None


class State(Spec):
    """The proprioception that the policy takes, `agent_pos`, for each arm in turn.

    `order`: its parts, one after the other; a part may be missing. `rotation`: its form.
    `fingers`: both positions, or their distance, "width". `unit`: of the position.
    `frame`: the world's or the robot's base, which is turned as the world. `tool`: the
    grip site, or the hand, which is turned against it by 90° about their z axis.
    """

    order: tuple[Part, ...] = get_args(Part)
    rotation: Rotation = "rot6d"
    fingers: Literal["two", "width"] = "two"
    unit: Unit = "m"
    frame: Literal["world", "base"] = "world"
    tool: Tool = "grip_site"

    @pydantic.field_validator("order")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("expected each part at most once")
        return value


class Actions(Spec):
    """The actions that the policy answers: position, rotation, gripper for each arm.

    `reference`: what position and rotation are relative to. "absolute": to nothing.
    "pose": the pose that the policy saw when it was asked, for all of the chunk.
    "previous": the target before, that of the first action being the last one executed.
    "step": the pose in which each action finds the arm. `position`: its unit; 1 is 5 cm
    (and 0.5 rad of a rotation vector) with "controller", and "min_max" is -1 at `low` and 1
    at `high` (m). `rotation`: its form. `frame`: the axes of a position: the world's, those
    of the robot's base, or those of the gripper as it was seen. `tool`: as for the state.
    `gripper`: the numbers for an open and for a closed gripper. `offset`: the control
    step, from the present one, that the first action of a chunk is meant for.
    `frequency`: actions in a second, as a multiple of the task's (0.5: each lasts two
    control steps).
    """

    reference: Reference = "absolute"
    position: Scale = "m"
    low: Point | None = None
    high: Point | None = None
    rotation: Rotation = "rot6d"
    frame: Frame = "world"
    tool: Tool = "grip_site"
    gripper: tuple[float, float] = (-1.0, 1.0)
    offset: int = pydantic.Field(default=0, ge=-FURTHEST_OFFSET, le=FURTHEST_OFFSET)
    frequency: float = 1.0

    @pydantic.model_validator(mode="after")
    def _can_be(self) -> Self:
        if self.frequency not in FREQUENCIES:
            raise ValueError(f"frequency: expected 0.5, 1 or 2 answers in a control step, got {self.frequency:g}")
        if self.gripper[0] == self.gripper[1]:
            raise ValueError(f"gripper: expected two different numbers, for open and for closed, got {self.gripper}")
        bounds = self.low is not None and self.high is not None
        if self.position == "min_max" and not bounds:
            raise ValueError('position = "min_max" needs `low` and `high`, the positions (m) of -1 and 1')
        if self.low and self.high and not all(a < b for a, b in zip(self.low, self.high, strict=True)):
            raise ValueError(f"expected low under high in each number, got {self.low} and {self.high}")
        if self.reference == "absolute" and self.frame == "end_effector":
            raise ValueError('frame = "end_effector" means steps from the pose; expected reference = "pose" with it')
        if self.reference != "absolute" and self.tool != "grip_site":
            raise ValueError('tool = "hand" turns absolute rotations; expected reference = "absolute" with it')
        if self.reference == "step" and (self.frame == "end_effector" or self.frequency != 1.0):
            raise ValueError('reference = "step" goes with frame "world" or "base", and with frequency 1')
        return self


class Adapter(Spec):
    """How a policy's conventions differ from ours.

    `images`, `state`, `actions`: tables of conventions. `cameras`: the policy's name of
    an image -> the task's camera that it gets; what is not named keeps its name.
    `base`: the position of the robot's base (m, world), for frames of the base.
    `actions` missing: the policy's actions are ours, in the control mode that it names.
    """

    images: Images = Images()
    cameras: dict[str, str] = pydantic.Field(default_factory=dict)
    state: State = State()
    actions: Actions | None = None
    base: Point | None = None

    @pydantic.model_validator(mode="after")
    def _base_is_known(self) -> Self:
        frames = (self.state.frame, self.actions.frame if self.actions else "world")
        if "base" in frames and self.base is None:
            raise ValueError('frame = "base" needs `base`, the position of the robot\'s base (m, world)')
        return self

    @property
    def is_identity(self) -> bool:
        """Whether the adapter changes nothing."""
        return not self.tables()

    def tables(self) -> dict[str, Any]:
        """Return all that is not our convention, as tables; empty for the identity."""
        found = self.model_dump(exclude_defaults=True, mode="json")
        if "frame" not in found.get("state", {}) and (self.actions is None or self.actions.frame != "base"):
            found.pop("base", None)
        named = {name: camera for name, camera in self.cameras.items() if name != camera}
        found.pop("cameras", None)
        # A table of actions that are all ours still turns deltas' names into poses.
        return {
            k: v for k, v in {**found, **({"cameras": named} if named else {})}.items() if v != {} or k == "actions"
        }


def read_adapter(path: Path | str) -> Adapter:
    """Return the adapter in a TOML file; ConfigError, in one line, if it is not one."""
    place = Path(path)
    if not place.is_file():
        raise ConfigError(f"adapter {str(path)!r}: no such file; expected one that `altbench adapt` or you wrote")
    return Adapter.parse(read_toml(place), f"adapter {str(path)!r}")


def check_adapter(adapter: Adapter, needs: Requirements, task: TaskInfo, where: str) -> None:
    """Raise ConfigError, which begins with `where`, unless `adapter` fits policy and task."""
    for name, camera in adapter.cameras.items():
        if name not in needs.cameras:
            raise ConfigError(
                f"{where}: adapter: cameras: the policy takes no image {name!r}{suggestion(name, needs.cameras)}"
            )
        if camera not in task.cameras:
            raise ConfigError(f"{where}: adapter: cameras: unknown camera {camera!r}{suggestion(camera, task.cameras)}")


def as_adapter(value: Adapter | Mapping[str, Any] | str | Path | None) -> Adapter | None:
    """Return the adapter in a sweep's setting: a file's path, a table, or None."""
    if value is None or isinstance(value, Adapter):
        return value
    if isinstance(value, Mapping):
        return Adapter.parse(value, "adapter")
    return read_adapter(value)
