"""The conventions that are tried, each with its values; ours is the first."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from altbench.adapters import rotations, state
from altbench.adapters.spec import (
    FREQUENCIES,
    Actions,
    Adapter,
    Frame,
    Layout,
    Order,
    Part,
    Point,
    Range,
    Reference,
    Rotation,
    State,
    Tool,
    Unit,
)
from altbench.core.demonstration import Demonstration
from altbench.core.errors import ConfigError
from altbench.core.policy import Requirements
from altbench.core.task import TaskInfo
from altbench.core.types import ControlMode

SIZES = (64, 96, 112, 128, 224, 256)
"""Height and width of images that policies usually take, in pixels."""
GRIPPERS = ((-1.0, 1.0), (1.0, -1.0), (0.0, 1.0), (1.0, 0.0))
"""The numbers for open and closed that policies usually answer."""
OFFSETS = (0, 1, -1, 2, -2)
ORDERS: tuple[tuple[Part, ...], ...] = tuple(
    order for n in (3, 2, 1, 0) for order in itertools.permutations(get_args(Part), n)
)
IMAGES = ("images.order", "images.layout", "images.range", "images.flip_vertical", "images.flip_horizontal")
SEEN: tuple[str, ...] = (
    *IMAGES,
    *("images.size", "cameras", "state.order", "state.rotation", "state.fingers", "state.unit", "state.frame"),
    "state.tool",
)
"""The conventions of what the policy takes."""
DONE = ("reference", "position", "rotation", "frame", "tool", "gripper", "offset", "frequency")
"""The conventions of its actions."""
CONVENTIONS = (*SEEN, *(f"actions.{name}" for name in DONE))


@dataclass(frozen=True)
class Facts:
    """What is known before the search, and bounds it.

    `base`: the robot's position (m, world); None: frames of the base are not tried.
    `bounds`: ways to scale positions to -1 and 1: name -> (low, high) in m. `size`: the
    (height, width) of the demonstrations' images. `own`: the policy's cameras.
    """

    task: TaskInfo
    needs: Requirements
    base: Point | None
    bounds: Mapping[str, tuple[Point, Point]]
    size: tuple[int, int]

    @property
    def own(self) -> tuple[str, ...]:
        """The names of the images that the policy takes."""
        return self.needs.cameras


def facts_of(task: TaskInfo, needs: Requirements, demonstrations: Sequence[Demonstration], base: Point | None) -> Facts:
    """Return what the search starts from."""
    targets = np.concatenate([d.actions for d in demonstrations]).reshape(-1, task.arms, 10)[:, 0, :3].astype(float)
    low, high = targets.min(axis=0), targets.max(axis=0)
    bounds = {"the demonstrations": (_point(low), _point(np.maximum(high, low + 1e-3)))}
    if task.workspace:
        bounds["the workspace"] = task.workspace
    images = next(iter(demonstrations[0].pixels.values()), None)
    size = (int(images.shape[1]), int(images.shape[2])) if images is not None else (0, 0)
    return Facts(task, needs, base, bounds, size)


def _point(values: np.ndarray[Any, np.dtype[np.float64]]) -> Point:
    x, y, z = (round(float(value), 4) for value in values)
    return (x, y, z)


def own_actions(mode: ControlMode) -> Actions:
    """Return the conventions of the bench's own control modes."""
    if mode == "ee_pose":
        return Actions()
    return Actions(reference="step", position="controller", rotation="rotvec")


def ours(facts: Facts) -> Adapter:
    """Return the adapter that changes as little as the policy's own words allow."""
    needs = facts.needs
    size = needs.image_size if needs.image_size not in (None, facts.size) else None
    known = [c for c in needs.cameras if c in facts.task.cameras]
    free = iter(c for c in facts.task.cameras if c not in known)
    cameras = {name: name if name in known else next(free, facts.task.cameras[0]) for name in needs.cameras}
    return Adapter.model_validate(
        {
            "images": {"size": size},
            "cameras": cameras,
            "actions": own_actions(needs.control_mode).model_dump(),
            "base": facts.base,
        }
    )


def values(name: str, facts: Facts) -> list[Any]:
    """Return the values of a convention, ours first."""
    if name == "images.size":
        return [None, *((side, side) for side in SIZES if (side, side) != facts.size)]
    if name == "cameras":
        return camera_names(facts)
    if name == "actions.position":
        return [{"position": unit} for unit in ("m", "cm", "mm", "controller")] + [
            {"position": "min_max", "low": low, "high": high} for low, high in facts.bounds.values()
        ]
    found: dict[str, Sequence[Any]] = {
        "images.order": get_args(Order),
        "images.layout": get_args(Layout),
        "images.range": get_args(Range),
        "images.flip_vertical": (False, True),
        "images.flip_horizontal": (False, True),
        "state.order": ORDERS,
        "state.rotation": get_args(Rotation),
        "state.fingers": ("two", "width"),
        "state.unit": get_args(Unit),
        "state.frame": ("world", "base") if facts.base else ("world",),
        "state.tool": get_args(Tool),
        "actions.reference": get_args(Reference),
        "actions.rotation": get_args(Rotation),
        "actions.frame": tuple(frame for frame in get_args(Frame) if frame != "base" or facts.base),
        "actions.tool": get_args(Tool),
        "actions.gripper": GRIPPERS,
        "actions.offset": OFFSETS,
        "actions.frequency": FREQUENCIES,
    }
    return list(found[name])


def camera_names(facts: Facts) -> list[dict[str, str]]:
    """Return every way to give the policy's images different cameras of the task."""
    named, there = facts.own, facts.task.cameras
    if len(named) > len(there):
        return [dict(zip(named, itertools.cycle(there), strict=False))]
    found = [dict(zip(named, chosen, strict=True)) for chosen in itertools.permutations(there, len(named))]
    return sorted(found, key=lambda one: sum(name != camera for name, camera in one.items()))


def value_of(adapter: Adapter, name: str) -> Any:
    """Return an adapter's value of a convention, in the form of `values`."""
    if name == "cameras":
        return dict(adapter.cameras)
    table, _, key = name.partition(".")
    part = getattr(adapter, table)
    if name == "actions.position":
        scaled = {"low": part.low, "high": part.high} if part.position == "min_max" else {}
        return {"position": part.position, **scaled}
    return getattr(part, key)


def with_value(adapter: Adapter, name: str, value: Any) -> Adapter | None:
    """Return the adapter with another value of a convention; None if no adapter can have it."""
    if name == "cameras":
        return adapter.model_copy(update={"cameras": dict(value)})
    table, _, key = name.partition(".")
    part = getattr(adapter, table)
    changes = {"low": None, "high": None, **value} if name == "actions.position" else {key: value}
    try:
        made = type(part).parse({**part.model_dump(), **changes}, name)
    except ConfigError:
        return None
    return adapter.model_copy(update={table: made})


def changed(adapter: Adapter, start: Adapter) -> list[str]:
    """Return the conventions in which two adapters differ."""
    return [name for name in CONVENTIONS if value_of(adapter, name) != value_of(start, name)]


def said(name: str, value: Any, facts: Facts | None = None) -> str:
    """Return a value in words, for the report."""
    if name == "cameras":
        return ", ".join(f"{own} gets {camera}" for own, camera in sorted(value.items())) or "none"
    if name == "actions.position":
        if value["position"] != "min_max":
            return str(value["position"])
        bounds = {key: tuple(value[key]) for key in ("low", "high")}
        known = {pair: title for title, pair in facts.bounds.items()} if facts else {}
        return f"min_max of {known.get((bounds['low'], bounds['high']), 'other bounds')}"
    if name == "actions.gripper":
        return f"{value[0]:g} open, {value[1]:g} closed"
    if isinstance(value, tuple):
        return "x".join(map(str, value)) if name == "images.size" else ", ".join(map(str, value)) or "nothing"
    if name == "images.size" and value is None:
        return "as drawn"
    return {True: "flipped", False: "upright"}[value] if isinstance(value, bool) else str(value)


def state_layouts(length: int) -> Iterator[State]:
    """Yield the ways to lay out proprioception of `length` numbers for each arm, simplest first."""
    forms = [
        State(order=order, rotation=rotation, fingers=fingers)
        for order in ORDERS
        for rotation in (get_args(Rotation) if "rotation" in order else ("rot6d",))
        for fingers in (("two", "width") if "fingers" in order else ("two",))
    ]
    plain = State()
    fitting = [one for one in forms if state.length(one) == length]
    yield from sorted(fitting, key=lambda one: _differences(one, plain))


def state_lengths() -> list[int]:
    """Return the lengths that proprioception of an arm can have, ours first."""
    forms = [
        State(order=o, rotation=r, fingers=f) for o in ORDERS for r in get_args(Rotation) for f in ("two", "width")
    ]
    counts = {state.length(one): 0 for one in forms}
    for one in forms:
        counts[state.length(one)] = max(counts[state.length(one)], len(one.order))
    own = state.length(State())
    return sorted(counts, key=lambda n: (n != own, -counts[n], -n))


def _differences(one: State, other: State) -> int:
    values, usual = one.model_dump(), other.model_dump()
    return sum(values[key] != usual[key] for key in usual)


def rotation_forms(numbers: int) -> list[str]:
    """Return the rotations that an action of `numbers` for each arm may have."""
    return [form for form, length in rotations.LENGTHS.items() if 3 + length + 1 == numbers]
