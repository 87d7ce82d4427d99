"""`altbench new policy | task | perturbation | sweep`: a starting point with its test."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from altbench.cli.help import App

app = App(
    help="Write a working starting point, with its test: a policy, a task, a perturbation or a sweep.\n\n"
    "Examples: `altbench new policy MyPolicy`; `altbench new sweep mine`."
)

Name = Annotated[str, typer.Argument(help="Its name, a Python identifier.", show_default=False)]
Out = Annotated[Path, typer.Option("--out", help="The folder to write into.")]


@app.command()
def policy(name: Name, out: Out = Path()) -> None:
    """Write a policy in a file of its own, and its test.

    It learns from demonstrations and plays at once: the nearest demonstrated pose's
    actions. No file is overwritten.

    - `altbench new policy MyPolicy`
    - `altbench new policy MyPolicy --out policies`
    """
    _write("policy", name, out)


@app.command()
def task(name: Name, out: Out = Path()) -> None:
    """Write a package with a task of robosuite, its scripted expert, and its test.

    The task is to carry a milk carton to its compartment. No file is overwritten.

    - `altbench new task MilkRun`
    """
    _write("task", name, out)


@app.command()
def perturbation(name: Name, out: Out = Path()) -> None:
    """Write a package with a perturbation of images, and its test.

    It draws vertical stripes. No file is overwritten.

    - `altbench new perturbation stripes`
    """
    _write("perturbation", name, out)


@app.command()
def sweep(name: Name, out: Out = Path()) -> None:
    """Write a small sweep with a comment on each key, and its test.

    No file is overwritten.

    - `altbench new sweep mine`
    """
    _write("sweep", name, out)


def _write(kind: str, name: str, out: Path) -> None:
    from altbench.cli import starting_points
    from altbench.system.console import make_console, say

    console = make_console()
    paths, advice = starting_points.write(kind, name, out)
    for path in paths:
        say(console, f"wrote {path}", wrap=False)
    for line in advice:
        say(console, line, wrap=False)
