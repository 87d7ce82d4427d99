"""What `altbench adapt` can be given: a checkpoint, a registered policy, a class in a file, or a URL."""

from __future__ import annotations

from typing import Any

from altbench.core import registry
from altbench.core.demonstration import RestorableTask
from altbench.core.errors import ConfigError
from altbench.core.policy import Policy
from altbench.core.task import task_of
from altbench.core.types import Float64
from altbench.results.targets import find_target


def resolve(target: str, task: str, device: str = "cpu") -> Policy[Any]:
    """Return the policy that `target` names, ready to act on `device`.

    `target`: a checkpoint's folder, a registered name, `file.py:Class`, or the URL of a
    policy server. ConfigError if it is another thing, is of another task, or would have
    to be trained first.
    """
    found = find_target(target, task, device=device)
    if found.needs_fit:
        raise ConfigError(f"{target}: it must be trained first; name the folder of its checkpoint")
    return found.policy


def base_of(task: str) -> tuple[float, float, float] | None:
    """Return the position of the robot's base (m, world); None if the task does not say it.

    None also for several arms: their bases are turned against the world.
    """
    import gymnasium

    info = registry.task(task)
    if info.arms != 1:
        return None
    env = gymnasium.make(info.env_id, disable_env_checker=True, obs_type="state")
    try:
        made = task_of(env)
        model = made.native_model().xml if isinstance(made, RestorableTask) else ""
    finally:
        env.close()
    return base_in(model)


def base_in(model: str) -> tuple[float, float, float] | None:
    """Return the position of the body `robot0_base` in a model as MJCF; None if it is missing or turned."""
    import xml.etree.ElementTree as ElementTree

    import numpy as np

    if not model:
        return None

    def find(element: ElementTree.Element, at: Float64) -> Float64 | None:
        for body in element.findall("body"):
            if body.get("quat", "1 0 0 0") != "1 0 0 0" or body.get("euler"):
                continue
            here = at + np.array([float(number) for number in body.get("pos", "0 0 0").split()])
            found = here if body.get("name") == "robot0_base" else find(body, here)
            if found is not None:
                return found
        return None

    world = ElementTree.fromstring(model).find("worldbody")
    found = None if world is None else find(world, np.zeros(3))
    return None if found is None else (float(found[0]), float(found[1]), float(found[2]))
