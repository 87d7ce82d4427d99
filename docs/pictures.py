"""Draw the site's pictures of tasks and perturbations: `python docs/pictures.py`.

It needs a simulator and OpenGL, so the pictures are kept beside it, in pictures/.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from altbench.core import registry
from altbench.report import preview
from altbench.report.contact_sheets import contact_sheet
from altbench.sweeps.needs import FROM_DEMONSTRATIONS

FOLDER = Path(__file__).parent / "pictures"
TASK = "Lift"
"""The task on which perturbations are shown."""


def main() -> None:
    """Draw a picture for every task and every perturbation."""
    FOLDER.mkdir(exist_ok=True)
    for name in registry.names("task"):
        _save(_task_sheet(name), f"task-{name}")
    for name, sheet in preview.perturbation_sheets(registry.names("perturbation"), TASK):
        _save(sheet, f"perturbation-{name}")


def _task_sheet(name: str) -> np.ndarray:
    """Return a row per camera and a column per split that draws its own poses."""
    task = registry.task(name)
    splits = [split for split in task.splits if split not in FROM_DEMONSTRATIONS]
    images = preview.first_images(name, splits)
    rows = [(camera, [images[split][camera] for split in splits]) for camera in task.cameras]
    return contact_sheet(rows, [split.replace("_", " ") for split in splits], preview.TASK_SIZE)


def _save(picture: np.ndarray, name: str) -> None:
    # In full colour: a palette of noise would also change the picture beside it, as it is.
    Image.fromarray(picture).save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
