"""`altbench envs`: look at the tasks and their perturbations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from altbench.cli.help import App

app = App(help="Look at the tasks and their perturbations.")


@app.callback()
def _group() -> None:
    """Look at the tasks and their perturbations."""


@app.command()
def preview(
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="Name of the files: `preview.png` gives preview-tasks.png, preview-images.png, preview-scene.png.",
        ),
    ] = Path("preview.png"),
    task: Annotated[str, typer.Option("--task", help="The task whose images are perturbed; default: the first.")] = "",
) -> None:
    """Draw contact sheets: every task in every split, and every perturbation at every severity.

    - `altbench envs preview`
    - `altbench envs preview --task Lift --out pictures/lift.png`
    """
    from functools import partial

    from altbench.core import registry
    from altbench.report import preview as draw
    from altbench.report.contact_sheets import write_png
    from altbench.system.devices import require_renderer

    chosen = task or next(iter(registry.BUILT_IN["task"]))
    registry.check_name("task", chosen)
    require_renderer()
    images, scene = draw.image_and_scene_names()
    sheets = {
        "tasks": partial(draw.tasks_sheet, registry.names("task")),
        "images": partial(draw.perturbations_sheet, images, chosen),
        "scene": partial(draw.perturbations_sheet, scene, chosen),
    }
    for name, sheet in sheets.items():
        path = out.with_name(f"{out.stem}-{name}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(path, sheet())
        typer.echo(f"{path}")
