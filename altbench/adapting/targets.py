"""What `altbench adapt` can be given: a checkpoint, a registered policy, or a class in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from altbench.core import registry
from altbench.core.catalogue import make_policy
from altbench.core.demonstration import RestorableTask
from altbench.core.errors import AltbenchError, ConfigError
from altbench.core.policy import Policy, Trainable
from altbench.core.task import task_of
from altbench.core.types import Float64
from altbench.results.checkpoints import is_checkpoint, load_checkpoint


def resolve(target: str, task: str, device: str = "cpu") -> Policy[Any]:
    """Return the policy that `target` names, ready to act on `device`.

    `target`: a checkpoint's folder, a registered name, or `file.py:Class`. ConfigError if
    it is none of them, is of another task, or would have to be trained first.
    """
    registry.task(task)
    if is_checkpoint(Path(target)):
        policy = load_checkpoint(Path(target), device)
        if policy.task.name != task:
            raise ConfigError(f"{target}: expected a checkpoint of {task}, got one of {policy.task.name}")
        return policy
    if "://" in target:
        raise ConfigError(f"{target}: expected a checkpoint's folder, a policy's name or file.py:Class, got a URL")
    if Path(target).is_dir():
        raise ConfigError(f"{target}: expected a checkpoint's folder, with policy.json in it")
    made = _made(target, task)
    if isinstance(made, Trainable):
        raise ConfigError(f"{target}: it must be trained first; name the folder of its checkpoint")
    made.place(device)
    return made


def _made(target: str, task: str) -> Policy[Any]:
    try:
        return make_policy(target, task)
    except AltbenchError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{target}: cannot be made: {type(error).__name__}: {error}") from error


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
