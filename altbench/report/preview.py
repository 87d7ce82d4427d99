"""Pictures of every task's splits, and of every perturbation at every severity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from altbench.core import registry
from altbench.core.errors import PerturbationUnsupported
from altbench.core.perturbation import AnyPerturbation, ScenePerturbation
from altbench.core.task import TaskInfo, task_of
from altbench.core.types import UInt8
from altbench.report.contact_sheets import GAP, GREY, contact_sheet
from altbench.rollout.perturber import EpisodePerturber
from altbench.sweeps.needs import FROM_DEMONSTRATIONS

SEVERITIES = range(6)
EPISODE = 7
"""The episode shown of each split: its pose lies on the grid, or between the grid's."""
MOMENT = 24
"""The control step at which perturbations are shown.

The gripper is then near the object, and a frozen camera shows that it is frozen.
"""
TASK_SIZE, FRAME_SIZE = 160, 112
"""Height and width in pixels of a picture of a task, and of a perturbation."""
MISSING = GREY
"""Grey level of a missing picture."""

Images = Mapping[str, UInt8]


def tasks_sheet(names: Sequence[str]) -> UInt8:
    """Draw a row per task, built-in ones in the registry's order.

    A row shows the first image of the task's first camera in each split that draws its
    own poses. A last square shows the other cameras' first images in the first of these
    splits.
    """
    order = list(registry.BUILT_IN["task"])
    tasks = [registry.task(n) for n in sorted(names, key=lambda n: order.index(n) if n in order else len(order))]
    splits = list(dict.fromkeys(s for task in tasks for s in task.splits if s not in FROM_DEMONSTRATIONS))
    rows = [(task.name, _task_pictures(task, splits)) for task in tasks]
    titles = [split.replace("_", " ") for split in splits]
    return contact_sheet(rows, [*titles, f"other cameras, {titles[0]}"], TASK_SIZE)


def perturbations_sheet(names: Sequence[str], task_name: str, seed: int = 0) -> UInt8:
    """Draw a row per perturbation, a column per severity.

    Each picture has the task's cameras side by side, `MOMENT` steps into an episode.
    """
    task, env = registry.task(task_name), _made(task_name, FRAME_SIZE)
    film = _film(env, task, seed)
    rows = []
    for name in names:
        kind = registry.perturbation(name)
        pictures = [_picture(env, task, kind(severity), film, seed) for severity in SEVERITIES]
        rows.append((name.replace("_", "\n", 1), pictures))
    env.close()
    return contact_sheet(rows, [f"severity {s}" if s else "as it is" for s in SEVERITIES], FRAME_SIZE)


def first_images(task_name: str, splits: Sequence[str]) -> dict[str, Images]:
    """Return the first images of an episode in each of `splits`: split -> camera -> image."""
    env = _made(task_name, TASK_SIZE)
    images = {split: _first_images(env, split) for split in splits}
    env.close()
    return images


def image_and_scene_names() -> tuple[list[str], list[str]]:
    """Return the registered perturbations of images, and those of scenes."""
    names = registry.names("perturbation")
    scene = [n for n in names if issubclass(registry.perturbation(n), ScenePerturbation)]
    return [n for n in names if n not in scene], scene


def _task_pictures(task: TaskInfo, splits: Sequence[str]) -> list[UInt8]:
    env = _made(task.name, TASK_SIZE)
    blank = np.full((TASK_SIZE, TASK_SIZE, 3), MISSING, np.uint8)
    first = [_first_images(env, split) if split in task.splits else {} for split in splits]
    env.close()
    pictures = [images.get(task.cameras[0], blank) for images in first]
    others = [first[0][camera] for camera in task.cameras[1:] if camera in first[0]]
    return [*pictures, _in_one_square(others) if others else blank]


def _in_one_square(pictures: Sequence[UInt8]) -> UInt8:
    """Return square `pictures` side by side, shrunk into the square of one.

    Above and below several pictures is grey.
    """
    count, size = len(pictures), len(pictures[0])
    small = (size - GAP * (count - 1)) // count
    square, top = np.full((size, size, 3), GREY, np.uint8), (size - small) // 2
    for i, picture in enumerate(pictures):
        blocks = picture[: small * count, : small * count].reshape(small, count, small, count, 3)
        left = i * (small + GAP)
        square[top : top + small, left : left + small] = blocks.mean(axis=(1, 3)).round()
    return square


def _first_images(env: gymnasium.Env[Any, Any], split: str) -> Images:
    images: Images = env.reset(seed=0, options={"split": split, "episode": EPISODE})[0]["pixels"]
    return images


def _film(env: gymnasium.Env[Any, Any], task: TaskInfo, seed: int) -> list[Images]:
    """Return the images of the first steps of an expert's episode.

    A task without an expert has a single one.
    The simulator is left at the last of these steps.
    """
    simulated = task_of(env)
    film = [env.reset(seed=seed)[0]["pixels"]]
    if task.name in registry.names("expert"):
        expert = registry.expert(task.name)
        expert.reset(simulated, seed)
        while len(film) <= MOMENT:
            simulated.advance(expert.act(simulated))
            film.append(simulated.observe()["pixels"])
    return film


def _picture(
    env: gymnasium.Env[Any, Any], task: TaskInfo, perturbation: AnyPerturbation, film: Sequence[Images], seed: int
) -> UInt8:
    """Return the film's last frame as a policy would see it, cameras side by side.

    It is grey if the task does not support the perturbation.
    """
    simulated, last = task_of(env), len(film) - 1
    is_scene = isinstance(perturbation, ScenePerturbation)
    perturber = EpisodePerturber(perturbation, seed, task.cameras, from_step=last if is_scene else 0)
    shown: Images = {}
    try:
        for step, images in enumerate(film):
            if perturber.arrive(simulated, step) and is_scene:
                images = simulated.observe()["pixels"]  # noqa: PLW2901
            shown = {camera: perturber.change(camera, step, image) for camera, image in images.items()}
    except PerturbationUnsupported:
        shown = {camera: np.full_like(image, MISSING) for camera, image in film[last].items()}
    finally:
        perturber.end(simulated)
    return np.concatenate(list(shown.values()), axis=1)


def _made(task_name: str, size: int) -> gymnasium.Env[Any, Any]:
    return gymnasium.make(
        registry.task(task_name).env_id, disable_env_checker=True, obs_type="pixels", image_size=(size, size)
    )
