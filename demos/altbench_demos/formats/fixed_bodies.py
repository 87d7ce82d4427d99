"""Objects whose pose is in the model and not in its states, such as a door.

Their pose is read from MJCF and written into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree

import numpy as np

from altbench.api import DatasetError, Float64, NativeModel
from altbench_demos.formats import mjcf

UPRIGHT = 1e-3
"""A quaternion's x and y, at most: about 0.1 degrees of tilt. Our pose has no tilt."""
SAME_HEIGHT = 0.01
"""m: how far a body's height may be from the task's."""
OTHER_TURNS = ("axisangle", "euler", "xyaxes", "zaxis")
"""MJCF's other ways to write a rotation. robosuite writes quaternions alone."""


def pose(xml: str, native: NativeModel, where: str) -> Float64 | None:
    """Read x, y (m) and yaw (rad) of each of `native.fixed_bodies` from MJCF.

    The result is (P,), or None if the task has no fixed bodies. DatasetError if the
    model does not contain them, or if they are tilted or at another height.
    """
    if not native.fixed_bodies:
        return None
    if not xml:
        bodies = ", ".join(native.fixed_bodies)
        raise DatasetError(f"{where}: expected a model with the pose of {bodies}, got none; name one with --model")
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
    """Parse the numbers in `text`; an empty array if one is not a finite number."""
    try:
        found = np.array([float(number) for number in text.split()[:9]])
    except ValueError:
        return np.zeros(0)
    return found if np.isfinite(found).all() else np.zeros(0)


def placed(native: NativeModel, where_they_stand: Float64) -> str:
    """Return the present model ("": none) with `native.fixed_bodies` at a pose (P,).

    The pose is what `pose` reads.
    """
    if not native.fixed_bodies or not native.xml:
        return native.xml
    # This parser expands entities. It may only parse our own model, never a foreign
    # one.
    root = ElementTree.fromstring(native.xml)
    for (name, height), part in zip(native.fixed_bodies.items(), where_they_stand.reshape(-1, 3), strict=True):
        body = root.find(f".//body[@name='{name}']")
        if body is None:
            raise DatasetError(f"expected the body {name} in the present model of {native.env_name}")
        x, y, yaw = map(float, part)
        body.set("pos", f"{x!r} {y!r} {height!r}")
        body.set("quat", f"{float(np.cos(yaw / 2))!r} 0 0 {float(np.sin(yaw / 2))!r}")
    return ElementTree.tostring(root, encoding="unicode")
