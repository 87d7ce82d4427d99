"""Pictures of what there is: every task's splits, and every perturbation at every severity, as contact sheets."""

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

SEVERITIES = range(6)
FROM_DEMONSTRATIONS = ("recall", "replay")  # splits that begin where a demonstration did
EPISODE = 7  # of the grid, or between its poses
MOMENT = 24  # control steps into an episode: the gripper is near the object, and frozen cameras show
TASK_SIZE, FRAME_SIZE = 160, 112  # pixels
MISSING = GREY  # of a picture that there is none of

Images = Mapping[str, UInt8]


def tasks_sheet(names: Sequence[str]) -> UInt8:
    """A row per task, built-in ones in the registry's order: its first camera's first image in each split that draws its
    own poses, then what its other cameras see in the first of these, in one square."""
    order = list(registry.BUILT_IN["task"])
    tasks = [registry.task(n) for n in sorted(names, key=lambda n: order.index(n) if n in order else len(order))]
    splits = list(dict.fromkeys(s for task in tasks for s in task.splits if s not in FROM_DEMONSTRATIONS))
    rows = [(task.name, _task_pictures(task, splits)) for task in tasks]
    titles = [split.replace("_", " ") for split in splits]
    return contact_sheet(rows, [*titles, f"other cameras, {titles[0]}"], TASK_SIZE)


def perturbations_sheet(names: Sequence[str], task_name: str, seed: int = 0) -> UInt8:
    """A row per perturbation, a column per severity: the task's cameras side by side, `MOMENT` steps into an episode."""
    task, env = registry.task(task_name), _made(task_name, FRAME_SIZE)
    film = _film(env, task, seed)
    rows = []
    for name in names:
        kind = registry.perturbation(name)
        pictures = [_picture(env, task, kind(severity), film, seed) for severity in SEVERITIES]
        rows.append((name.replace("_", "\n", 1), pictures))
    env.close()
    return contact_sheet(rows, [f"severity {s}" if s else "as it is" for s in SEVERITIES], FRAME_SIZE)


def image_and_scene_names() -> tuple[list[str], list[str]]:
    """The registered perturbations of images, and of scenes."""
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
    """Square `pictures` side by side, shrunk so that they take the place of one; grey above and below several."""
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
    """Images of the first steps of an expert's episode, which is left at the last of them; one where nobody can act."""
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
    """The film's last frame as a policy would see it, cameras side by side; grey where the task has nothing for it."""
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
