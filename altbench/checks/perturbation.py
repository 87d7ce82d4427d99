"""The contract of perturbations as code, for the author of a perturbation."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np

from altbench.checks import scene
from altbench.checks.env import refuses, require
from altbench.core.errors import ContractError
from altbench.core.perturbation import AnyPerturbation, FrameKey, Perturbation
from altbench.core.task import TaskEnv, task_of
from altbench.core.types import UInt8

MAX_SEVERITY = 5
"""The highest severity of every perturbation, as in ImageNet-C."""
EPISODES = 32
"""The number of episodes over which the mean distortion is taken."""


def check_perturbation(kind: type[AnyPerturbation], env: gymnasium.Env[Any, Any] | None = None, **options: Any) -> None:
    """Check a perturbation's class, made with `options`.

    A perturbation of images is tried on a picture like a camera's. A perturbation of
    the scene is tried on `env`, a task's environment with images
    (`gymnasium.make("altbench/Lift-v0")`).
    """
    name = kind.name
    wrong: tuple[Any, ...] = (-1, MAX_SEVERITY + 1, True, 2.0)
    for severity in wrong:
        refuses(partial(kind, severity, **options), f"perturbation {name}: severity {severity!r}")
    refuses(partial(kind, 1, no_such_option=1, **options), f"perturbation {name}: an unknown option")
    made = [kind(severity, **options) for severity in range(MAX_SEVERITY + 1)]
    for severity, one in enumerate(made):
        came = getattr(one, "severity", None)
        require(came == severity, f"perturbation {name}: expected the attribute severity {severity}, got {came!r}")
    task = None if env is None else task_of(env)
    distortion = [_distortion(one, task) for one in made]
    require(distortion[0] == 0.0, f"perturbation {name}: severity 0 must return the image's bytes unchanged")
    require(
        all(lesser < greater for lesser, greater in pairwise(distortion)),
        f"perturbation {name}: mean distortion must grow with severity, got {np.round(distortion, 2).tolist()}",
    )


def _distortion(perturbation: AnyPerturbation, task: TaskEnv | None) -> float:
    if isinstance(perturbation, Perturbation):
        return _image_distortion(perturbation, _picture())
    if task is None:
        raise ContractError(
            f"perturbation {perturbation.name} changes a scene: check_perturbation needs a task's `env`"
        )
    return scene.distortion(perturbation, task)


def _image_distortion(perturbation: Perturbation, image: UInt8) -> float:
    """Return the mean absolute change over episodes; each application is checked.

    The picture moves from step to step, as a film does.
    """
    changes = []
    for episode in range(EPISODES):
        references: list[UInt8] = []
        for step in range(0, episode + 1) if perturbation.keeps(0) else (episode,):
            seen = np.roll(image, step, axis=1)
            if perturbation.keeps(step):
                references = [seen]
        key = FrameKey(episode, episode % 2, episode, references[0] if references else None)
        changes.append(_change(perturbation, seen, key))
    return float(np.mean(changes))


def _change(perturbation: Perturbation, image: UInt8, key: FrameKey) -> float:
    """Return the mean absolute change of one image, after checking the result."""
    name, original = perturbation.name, image.copy()
    result = perturbation.apply(image, key)
    good = isinstance(result, np.ndarray) and result.dtype == np.uint8 and result.shape == image.shape
    require(good, f"perturbation {name}: expected uint8 {image.shape}, got {getattr(result, 'shape', result)}")
    require(np.array_equal(image, original), f"perturbation {name}: it changed its input; return a copy")
    again = perturbation.apply(image, key)
    require(np.array_equal(result, again), f"perturbation {name}: the same image and key gave other bytes")
    return float(np.abs(result.astype(int) - image).mean())


def _picture() -> UInt8:
    """Return a pale table under falling light, a red cube and a dark gripper.

    uint8 (84, 84, 3).
    """
    rows, columns = np.mgrid[0:84, 0:84]
    shade = 235 - 40 * np.hypot(rows - 42, columns - 42) / 60
    image = np.repeat(shade[..., None], 3, axis=2)
    image[50:62, 30:42] = (170, 40, 45)
    image[0:24, 34:58] = (45, 45, 50)
    return image.astype(np.uint8)
