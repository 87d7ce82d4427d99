"""Pictures of every task's splits, and of every perturbation at every severity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from altbench.core import registry
from altbench.core.errors import PerturbationUnsupported
from altbench.core.perturbation import AnyPerturbation, ScenePerturbation
from altbench.core.task import TaskInfo, task_of
from altbench.core.types import UInt8
from altbench.report.contact_sheets import GREY, contact_sheet
from altbench.rollout.perturber import EpisodePerturber

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
    """Draw a row per task: how it begins and ends, and where its splits put the objects.

    Tasks are in the order of all figures.
    """
    from altbench.report.drawing.layout import add_footer, pixels_of
    from altbench.report.drawing.task_sheet import draw_tasks
    from altbench.report.style import styled

    with styled():
        figure = draw_tasks(names)
        add_footer(figure, None)
        return pixels_of(figure, dpi=120)


def perturbations_sheet(names: Sequence[str], task_name: str, seed: int = 0) -> UInt8:
    """Draw a row per perturbation, a column per severity.

    Each picture has the task's cameras side by side, `MOMENT` steps into an episode.
    """
    task, env = registry.task(task_name), _made(task_name, FRAME_SIZE)
    film = _film(env, task, seed)
    rows = []
    for name in names:
        kind = registry.perturbation(name)
        seen = [_seen(env, task, kind(severity), film, seed) for severity in SEVERITIES]
        rows.append((name.replace("_", "\n", 1), [np.concatenate(list(one.values()), axis=1) for one in seen]))
    env.close()
    return contact_sheet(rows, _titles(), FRAME_SIZE)


def perturbation_sheets(names: Sequence[str], task_name: str, seed: int = 0) -> Iterator[tuple[str, UInt8]]:
    """Yield each perturbation with a sheet of its own: a row per camera, a column per severity.

    All sheets have one size, which a page shows without making it smaller.
    """
    task, env = registry.task(task_name), _made(task_name, FRAME_SIZE)
    film = _film(env, task, seed)
    for name in names:
        kind = registry.perturbation(name)
        seen = [_seen(env, task, kind(severity), film, seed) for severity in SEVERITIES]
        rows = [(camera, [one[camera] for one in seen]) for camera in task.cameras]
        yield name, contact_sheet(rows, _titles(), FRAME_SIZE)
    env.close()


def _titles() -> list[str]:
    return [f"severity {s}" if s else "as it is" for s in SEVERITIES]


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


def _seen(
    env: gymnasium.Env[Any, Any], task: TaskInfo, perturbation: AnyPerturbation, film: Sequence[Images], seed: int
) -> Images:
    """Return the film's last frame as a policy would see it, by camera.

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
    return shown


def _made(task_name: str, size: int) -> gymnasium.Env[Any, Any]:
    return gymnasium.make(
        registry.task(task_name).env_id, disable_env_checker=True, obs_type="pixels", image_size=(size, size)
    )
