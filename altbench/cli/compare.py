"""`altbench compare`, the gate between two runs, and `altbench report`, the page of one."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from altbench.report.compare import Comparison, Gate


class Format(StrEnum):
    """The formats of the report."""

    text = "text"
    markdown = "markdown"
    json = "json"
    junit = "junit"


def compare(
    base: Annotated[
        Path, typer.Argument(help="The folder of the run to compare with, such as results/quick.", show_default=False)
    ],
    new: Annotated[Path, typer.Argument(help="The folder of the run to judge.", show_default=False)],
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="Accept that NEW lacks cells or episodes of BASE; compare the rest."),
    ] = False,
    min_drop: Annotated[
        float, typer.Option(min=0, max=100, help="Let significant drops of fewer percentage points pass.")
    ] = 0.0,
    require_power: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=100,
            help="Be inconclusive (exit status 3) if a drop of so many points could be missed, over all cells or in a "
            "policy, with a probability of more than 20 %.",
            show_default=False,
        ),
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="What to print.")] = Format.text,
) -> None:
    """Compare two runs, episode by episode: did NEW get worse?

    Cells are paired by name, episodes by seed. One-sided exact tests look at all cells,
    at each policy and at each cell; errors, time-outs and crashes of a policy are
    failures. Two equal runs are called a regression in at most 5 % of comparisons.

    Exit status: 0, no regression seen; 1, a regression; 2, the comparison cannot be
    made, for example because NEW lacks episodes; 3, inconclusive (`--require-power`).

    - `altbench compare results/quick results/mine`
    - `altbench compare results/quick results/mine --min-drop 2 --require-power 15`
    - `altbench compare results/quick results/mine --format junit > compare.xml`
    """
    from altbench.report.compare import Gate, judge
    from altbench.report.compare import compare as pair
    from altbench.report.compare.exports import FORMATS

    comparison, gate = pair(base, new), Gate(allow_missing, min_drop, require_power)
    if format_ is Format.text:
        _show(comparison, gate)
    else:
        sys.stdout.write(FORMATS[format_.value](comparison, gate))
    raise typer.Exit(judge(comparison, gate).status)


def _show(comparison: Comparison, gate: Gate) -> None:
    """Print the comparison in the terminal's width; into a file or pipe 80 columns."""
    from altbench.report.compare.text import WIDTH, to_rich
    from altbench.system.console import make_console, put

    console = make_console()
    width = max(40, console.width) if console.is_terminal else WIDTH
    put(console, to_rich(comparison, gate, width))


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
