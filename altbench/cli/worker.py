"""`altbench worker`: one of many that finish a run together."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from altbench.system.console import make_console, say


def worker(
    run_folder: Annotated[
        Path,
        typer.Argument(help="The folder of a run that `altbench run --executor worker` offers.", show_default=False),
    ],
    shard: Annotated[
        str, typer.Option(help="Begin with part i of n, as in 2/8; then help with the rest.", metavar="I/N")
    ] = "",
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Worker processes; default: one per core; 0: this process, which raises errors."),
    ] = None,
    allow_mixed: Annotated[
        bool, typer.Option("--allow-mixed", help="Join though this machine is of another class; every table says so.")
    ] = False,
    expect: Annotated[str, typer.Option(help="The id that the run must have.", hidden=True)] = "",
) -> None:
    """Join a run that many workers finish together; exit when nothing is left of it.

    Start it in any number of terminals, on any number of machines that share the run's
    folder. A worker that is killed costs only what it was doing: others do that again.
    The last worker draws the tables.

    - `altbench worker results/mine`
    - `altbench worker results/mine --shard 2/8 --workers 4`
    """
    from altbench.engines.start import run_worker

    console = make_console()
    signal.signal(signal.SIGTERM, _stop)
    try:
        failed = run_worker(run_folder, shard, workers, console, mixed=allow_mixed, expected=expect)
    except KeyboardInterrupt:
        say(console, "\nstopped; other workers do the rest, or `altbench worker` again")
        raise typer.Exit(130) from None
    for job, reason in failed.items():
        say(console, ("failed", "red"), f" {job}: {reason}")
    say(console, f"nothing is left to do in {run_folder}", wrap=False)
    raise typer.Exit(1 if failed else 0)


def _stop(number: int, frame: FrameType | None) -> None:
    """End as with Ctrl-C, so that what is claimed is given back at once."""
    del number, frame
    raise KeyboardInterrupt
