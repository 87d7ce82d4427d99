"""Objects that stand in the model and not in its states, such as a door: their pose read from MJCF, and written into it."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree

import numpy as np

from altbench.api import DatasetError, Float64, NativeModel
from altbench_demos.formats import mjcf

UPRIGHT = 1e-3  # of a quaternion's x and y: no more tilted
SAME_HEIGHT = 0.01  # m
OTHER_TURNS = ("axisangle", "euler", "xyaxes", "zaxis")  # that robosuite does not write


def pose(xml: str, native: NativeModel, where: str) -> Float64 | None:
    """x, y (m) and yaw (rad) of each of `native.fixed_bodies` in the model `xml`, (P,); None where the task has none.

    DatasetError where the model does not tell, or has them tilted or at another height.
    """
    if not native.fixed_bodies:
        return None
    if not xml:
        bodies = ", ".join(native.fixed_bodies)
        raise DatasetError(f"{where}: expected a model that tells where {bodies} stands, got none; --model names one")
    there = {body.attributes.get("name"): body.attributes for body in mjcf.scan(xml, where).children}
    parts = [_pose(there.get(name, {}), z, f"{where}: {name}") for name, z in native.fixed_bodies.items()]
    return np.concatenate(parts)


def _pose(attributes: Mapping[str, str], height: float, where: str) -> Float64:
    position, turn = _numbers(attributes.get("pos", "")), _numbers(attributes.get("quat", "1 0 0 0"))
    if position.shape != (3,) or turn.shape != (4,) or not turn.any() or set(OTHER_TURNS) & attributes.keys():
        raise DatasetError(f"{where}: expected a body of the world with pos and quat, got {dict(attributes)}"[:300])
    w, x, y, z = turn / np.linalg.norm(turn)
    if max(abs(x), abs(y)) > UPRIGHT or abs(position[2] - height) > SAME_HEIGHT:
        raise DatasetError(f"{where}: expected it upright, {height:g} m high, got {dict(attributes)}"[:300])
    return np.array([*position[:2], np.arctan2(2 * w * z, w * w - z * z)])


def _numbers(text: str) -> Float64:
    """The numbers in `text`; none at all where one is none, or not finite."""
    try:
        found = np.array([float(number) for number in text.split()[:9]])
    except ValueError:
        return np.zeros(0)
    return found if np.isfinite(found).all() else np.zeros(0)


def placed(native: NativeModel, where_they_stand: Float64) -> str:
    """The present model ("": none) with `native.fixed_bodies` at the pose (P,) that `pose` reads."""
    if not native.fixed_bodies or not native.xml:
        return native.xml
    root = ElementTree.fromstring(native.xml)  # our own: nothing foreign is parsed so
    for (name, height), part in zip(native.fixed_bodies.items(), where_they_stand.reshape(-1, 3), strict=True):
        body = root.find(f".//body[@name='{name}']")
        if body is None:
            raise DatasetError(f"expected the body {name} in the present model of {native.env_name}")
        x, y, yaw = map(float, part)
        body.set("pos", f"{x!r} {y!r} {height!r}")
        body.set("quat", f"{float(np.cos(yaw / 2))!r} 0 0 {float(np.sin(yaw / 2))!r}")
    return ElementTree.tostring(root, encoding="unicode")
