"""Demonstrations for scripts: collected once into a cache, read from it afterwards."""

from __future__ import annotations

import math
import sys
from pathlib import Path

from altbench.core import registry
from altbench.core.demonstration import Demonstration
from altbench.core.types import Progress, RenderProfile, no_progress
from altbench.dataset.collecting import collect as collect_file
from altbench.dataset.files import info, read
from altbench.dataset.format import code_versions, physics_versions
from altbench.system.cache import cache_folder


def collect(
    task: str,
    n: int = 30,
    path: Path | str | None = None,
    *,
    seed: int = 0,
    image_size: tuple[int, int] = (84, 84),
    render_profile: RenderProfile = "fast",
    workers: int = 0,
    progress: Progress = no_progress,
) -> tuple[Demonstration, ...]:
    """Return the first `n` demonstrations of a task's scripted expert, collecting what is missing.

    `path`: the file that keeps them; default one in the cache (`$ALTBENCH_CACHE`,
    `~/.cache/altbench`), whose place is printed when something is collected. The file
    holds at least `n`; a longer one serves smaller `n`. `seed`: the root of all seeds.
    `image_size`: (H, W) in pixels. `workers`: processes that share the work (0: none).
    """
    place = Path(path) if path is not None else _cached(task, seed, image_size, render_profile)
    missing = n - (len(info(place).lengths) if place.is_file() else 0)
    if missing > 0:
        print(f"altbench: collecting {missing} demonstrations of {task} into {place}", file=sys.stderr)
    found = collect_file(
        task,
        n,
        place,
        root_seed=seed,
        image_size=image_size,
        render_profile=render_profile,
        workers=workers,
        progress=progress,
        patience_s=math.inf,  # two scripts that want the same ones share them
    )
    return found.demonstrations[:n]


def read_demonstrations(path: Path | str, task: str | None = None) -> tuple[Demonstration, ...]:
    """Return all demonstrations of a file; raise DatasetError if it is damaged, or of another task."""
    return read(path, task).demonstrations


def _cached(task: str, seed: int, image_size: tuple[int, int], render_profile: RenderProfile) -> Path:
    """Name the file after all that its contents depend on, so that none is ever stale."""
    numbers = [f"{name}{number}" for name, number in physics_versions().items()]
    numbers += [digest[:12] for digest in code_versions(task, own_expert=True).values()]
    versions = "-".join(numbers)
    size = "x".join(map(str, image_size))
    name = f"{task}-v{registry.task(task).version}-seed{seed}-{size}-{render_profile}-{versions}.hdf5"
    return cache_folder() / "demonstrations" / name
