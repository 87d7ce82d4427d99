"""`altbench leaderboard`: a static site from a folder of archives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from altbench.cli.help import App

app = App(help="Build the leaderboard from archives of `altbench submit pack`.")


@app.callback()
def _group() -> None:
    """Keep `build` a command of its own: a group of one would lose its name."""


@app.command("build")
def build(
    folder: Annotated[
        Path, typer.Argument(help="The folder with the archives and their verdicts.", show_default=False)
    ],
    out: Annotated[Path | None, typer.Option(help="The folder for the site; default FOLDER/site.")] = None,
) -> None:
    """Build a static site: per task and split, ranks as intervals, time, memory, verdicts.

    Beside mine.zip, mine.verdict.json is its verdict, as `altbench submit verify` writes
    it. What is not verified is shown and not ranked. Versions of a task, the suite or
    the physics are never mixed. The same files give the same site to the bit.

    - `altbench leaderboard build leaderboard`
    - `altbench leaderboard build leaderboard --out site`
    """
    from altbench.submissions.leaderboard import build as write

    typer.echo(write(folder, out))
