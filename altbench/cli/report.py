"""`altbench report`: one page of a run, to read and to send."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="A run's folder, such as results/quick.", show_default=False)],
    compare: Annotated[
        Path | None, typer.Option(help="Another run's folder, the base of a paired comparison.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The HTML file to write; default RUN/report.html.")] = None,
    embed_videos: Annotated[
        bool, typer.Option("--embed-videos", help="Put the films into the page; else they stay beside it.")
    ] = False,
) -> None:
    """Write a run's page: one HTML file with verdict, tables, charts, failures and downloads.

    It opens in any browser without a network. `altbench run` writes one into the run's
    folder, and `altbench redraw` writes it again.

    - `altbench report results/quick`
    - `altbench report results/mine --compare results/quick --out mine.html`
    """
    from altbench.page import write_page

    typer.echo(write_page(run, out, compare, embed_videos))
