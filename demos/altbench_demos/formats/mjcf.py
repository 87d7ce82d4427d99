"""Mapping of states recorded with another model to states of the present one.

The other model's MJCF gives its joints, which are matched by name. The XML is only
scanned for bodies and joints. Document types and entities are refused, so that nothing
is expanded or fetched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from altbench.api import DatasetError, Float64, NativeModel

SIZES = {"free": (7, 6), "ball": (4, 3), "hinge": (1, 1), "slide": (1, 1)}
"""MuJoCo's joint types: how many positions and velocities each has in a state."""
MAX_JOINTS = 10_000
"""Joints of a model, at most. robosuite's models have fewer than 100."""
RENAMED = (
    (re.compile(r"_jnt(\d+)$"), r"_joint\1"),  # before 1.2
    (re.compile(r"^gripper(\d+)_(?!right_|left_)"), r"gripper\1_right_"),  # before 1.5
)
"""robosuite's earlier names of joints -> its present ones."""


@dataclass
class Body:
    """A body of the model: XML attributes, joints (name, type) and children."""

    attributes: dict[str, str] = field(default_factory=dict)
    joints: list[tuple[str, str]] = field(default_factory=list)
    children: list[Body] = field(default_factory=list)


class _Scanner:
    """A collector of the bodies and joints below `worldbody`, for expat's events."""

    def __init__(self) -> None:
        self.world = Body()
        self._path: list[str] = []
        self._bodies: list[Body] = []
        self._count = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        parent = self._path[-1] if self._path else ""
        self._path.append(tag)
        if tag == "worldbody":
            self._bodies = [self.world]
        elif tag == "body" and self._bodies:
            body = Body(attributes)
            self._bodies[-1].children.append(body)
            self._bodies.append(body)
        elif tag in ("joint", "freejoint") and parent == "body" and self._bodies:
            kind = "free" if tag == "freejoint" else attributes.get("type", "hinge")
            self._bodies[-1].joints.append((attributes.get("name", f"unnamed joint {self._count}"), kind))
            self._count += 1

    def end(self, tag: str) -> None:
        self._path.pop()
        if tag == "worldbody":
            self._bodies = []
        elif tag == "body" and self._bodies:
            self._bodies.pop()


def joint_types(xml: str, where: str) -> list[tuple[str, str]]:
    """Return (name, type) of the model's joints in the order of its states.

    MuJoCo's order: a body's own joints first, then its children's.
    """
    found, waiting = [], [scan(xml, where)]
    while waiting:
        body = waiting.pop()
        found += body.joints
        waiting += reversed(body.children)
    names = [name for name, _ in found]
    if not found or len(found) > MAX_JOINTS or len(set(names)) < len(names) or {k for _, k in found} - SIZES.keys():
        raise DatasetError(f"{where}: expected a model with named joints of the types {sorted(SIZES)}, got {found[:5]}")
    return found


def scan(xml: str, where: str) -> Body:
    """Return the world body of the model `xml`; its children are the outermost bodies.

    DatasetError if `xml` is not plain MJCF.
    """
    scanner, parser = _Scanner(), expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = scanner.start, scanner.end
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(xml.encode("utf-8", "surrogatepass"), True)
    except expat.ExpatError as error:
        raise DatasetError(f"{where}: expected a model in MJCF, got text that is not XML: {error}") from None
    except _Refused:
        raise DatasetError(f"{where}: expected a model in MJCF without document type and entities") from None
    return scanner.world


def state_columns(xml: str, native: NativeModel, where: str) -> NDArray[np.int64]:
    """Return the columns of an old state that make up a present one.

    `present = old[..., columns]`, where `old` was recorded with the model `xml`.
    DatasetError with the joints of both models if they differ.
    """
    joints = joint_types(xml, where)
    positions = 1
    velocities = 1 + sum(SIZES[kind][0] for _, kind in joints)
    columns, seen = np.zeros(native.state_dim, dtype=np.int64), []
    for name, kind in joints:
        numbers, speeds = SIZES[kind]
        ranges = native.joints.get(present := _present_name(name, native))
        if ranges is not None:
            if ranges.positions.stop - ranges.positions.start != numbers:
                raise DatasetError(
                    f"{where}: expected {present} as in robosuite's present model, got one of type {kind}"
                )
            columns[ranges.positions] = np.arange(positions, positions + numbers)
            columns[ranges.velocities] = np.arange(velocities, velocities + speeds)
        seen.append(present)
        positions, velocities = positions + numbers, velocities + speeds
    missing, foreign = sorted(native.joints.keys() - set(seen)), sorted(set(seen) - native.joints.keys())
    if missing or foreign:
        raise DatasetError(f"{where}: expected the joints {sorted(native.joints)}, got {sorted(seen)}: another task?")
    return columns


def map_states(states: Float64, xml: str, native: NativeModel, where: str) -> Float64:
    """Convert `states` (T, any) of the model `xml` to present states (T, Ds).

    `xml` "": the present model.
    """
    if not xml:
        if states.shape[1] != native.state_dim:
            raise DatasetError(f"{where}: expected states of {native.state_dim} numbers, got {states.shape[1]}")
        return states
    joints = joint_types(xml, where)
    width = 1 + sum(sum(SIZES[kind]) for _, kind in joints)
    if states.shape[1] != width:
        raise DatasetError(
            f"{where}: its model has states of {width} numbers, but those recorded have {states.shape[1]}"
        )
    present: Float64 = states[:, state_columns(xml, native, where)]
    return present


def _present_name(name: str, native: NativeModel) -> str:
    for pattern, replacement in RENAMED:
        if name not in native.joints:
            name = pattern.sub(replacement, name)
    return name


class _Refused(Exception):
    pass


def _refuse(*_: Any) -> None:
    raise _Refused
