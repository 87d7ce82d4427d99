"""Which joint is where in a state that was recorded with another model: read from its MJCF, mapped by joint name.

The XML is only scanned for bodies and joints. Document types and entities are refused, so nothing is expanded or fetched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from altbench.api import DatasetError, Float64, NativeModel

SIZES = {"free": (7, 6), "ball": (4, 3), "hinge": (1, 1), "slide": (1, 1)}  # MuJoCo: positions, velocities
MAX_JOINTS = 10_000
RENAMED = (  # what robosuite called a joint once -> what it calls it now
    (re.compile(r"_jnt(\d+)$"), r"_joint\1"),  # before 1.2
    (re.compile(r"^gripper(\d+)_(?!right_|left_)"), r"gripper\1_right_"),  # before 1.5
)


@dataclass
class Body:
    """A body as the XML has it, with its joints (name, type) and its children."""

    attributes: dict[str, str] = field(default_factory=dict)
    joints: list[tuple[str, str]] = field(default_factory=list)
    children: list[Body] = field(default_factory=list)


class _Scanner:
    """Collects the tree of bodies and their joints below `worldbody`."""

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
    """(name, type) of the model's joints in the order of its states: a body's own first, then its children's."""
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
    """The world of the model `xml`, whose children are its outermost bodies; DatasetError for what is no plain MJCF."""
    scanner, parser = _Scanner(), expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = scanner.start, scanner.end
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(xml.encode("utf-8", "surrogatepass"), True)
    except expat.ExpatError as error:
        raise DatasetError(f"{where}: expected a model in MJCF, got what is no XML: {error}") from None
    except _Refused:
        raise DatasetError(f"{where}: expected a model in MJCF without document type and entities") from None
    return scanner.world


def state_columns(xml: str, native: NativeModel, where: str) -> NDArray[np.int64]:
    """Columns of a state recorded with the model `xml` that make up a present state: `present = old[..., columns]`.

    DatasetError names the joints of either model that the other lacks.
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
    """`states` (T, any), recorded with the model `xml` ("": the present one), as present states (T, Ds)."""
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
