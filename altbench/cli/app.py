"""The commands. Each imports what it needs when it runs, so that `altbench --help` answers at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from altbench import __version__
from altbench.cli.audit import audit
from altbench.cli.demos import app as demos_app
from altbench.cli.envs import app as envs_app
from altbench.cli.reproduce import reproduce
from altbench.core.errors import AltbenchError

app = typer.Typer(
    name="altbench",
    help="Does a manipulation policy generalise, or recall? Benchmarks ALT, diffusion policy, behaviour cloning and your "
    "own policy in simulation.\n\nStart with `altbench doctor`, then `altbench run quick`.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
bench_app = typer.Typer(help="Measure latency and memory side by side.", no_args_is_help=True)
app.add_typer(demos_app, name="demos", help="Collect, inspect and play demonstrations.")
app.add_typer(envs_app, name="envs")
app.add_typer(bench_app, name="bench")
app.command("audit")(audit)
app.command("reproduce")(reproduce)

RunArgument = Annotated[Path, typer.Argument(help="a run's folder, such as results/quick")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"altbench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


@app.command()
def run(
    sweep: Annotated[
        str,
        typer.Argument(help="a built-in sweep (`smoke`, `quick`, `small`, ...), a .toml file, or a run's sweep.json"),
    ],
    out: Annotated[Path | None, typer.Option(help="where everything goes; default results/NAME")] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="worker processes; default: one per core; 0: none, run here (for debugging)"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="only check the sweep and list what it would do, and what of it is done")
    ] = False,
    policy: Annotated[
        list[str] | None, typer.Option(help="a policy of your own beside the others: ./file.py:Class; repeatable")
    ] = None,
) -> None:
    """Run a sweep: collect, train, roll out, tabulate. The same command again goes on where it stopped.

    Examples: `altbench run smoke` · `altbench run quick` · `altbench run my.toml --out results/mine --workers 4` ·
    `altbench run quick --policy ./mine.py:MyPolicy`
    """
    from altbench.cli import run as commands

    commands.run(sweep, out, workers, dry_run, policy or [])


@app.command("list")
def list_names() -> None:
    """List the tasks, policies and their presets, perturbations, and sweeps there are."""
    from altbench.cli import run as commands

    commands.list_names()


@app.command()
def doctor() -> None:
    """Check this installation (versions, renderer, GPU, disk), and say what to do about each problem."""
    from altbench.system.doctor import diagnose, render

    findings = diagnose()
    render(findings)
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


@app.command()
def video(
    cell: Annotated[
        str, typer.Argument(help="a cell's name, such as lift/alt/n30/s0/recall/clean, or its key's beginning")
    ],
    run_folder: Annotated[Path, typer.Option("--run", help="the run's folder")] = Path("results/quick"),
    episodes: Annotated[int, typer.Option(min=1, help="how many episodes")] = 4,
    out: Annotated[Path | None, typer.Option(help="the mp4 to write; default RUN/videos/CELL.mp4")] = None,
) -> None:
    """Play a cell's first episodes again and write them as one mp4."""
    from altbench.cli import run as commands

    commands.video(cell, run_folder, episodes, out)


@app.command()
def compare(
    base: RunArgument,
    new: RunArgument,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="NEW may lack cells that BASE has, such as where it is a part of it")
    ] = False,
) -> None:
    """Pair two runs episode by episode and say what changed.

    Exit status 1: some cell is significantly worse, or NEW lacks a cell that BASE has (where a fit failed, its cells are
    not there), unless `--allow-missing` is given.
    """
    from rich.console import Console

    from altbench.report.compare import compare as pair
    from altbench.report.compare import render

    comparison = pair(base, new)
    Console().print(render(comparison, allow_missing))
    raise typer.Exit(1 if comparison.worse or (comparison.only_base and not allow_missing) else 0)


@app.command()
def redraw(folder: RunArgument) -> None:
    """Make a run's tables and figures anew from its records, as this version draws them; nothing is run.

    A published run suffices: `episodes.parquet`, `measures/` and `fingerprint.json`, which stays what it was.
    """
    from altbench.report import outputs

    for name in outputs.redraw(folder):
        typer.echo(folder / name)


@bench_app.command("policies")
def bench_policies(
    preset: Annotated[str, typer.Option(help="the policies' size: small or paper")] = "paper",
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="which policies, also with a preset of their own (alt:compact); repeatable; "
            "default diffusion, bc, alt, and with --preset paper also alt:compact"
        ),
    ] = None,
    decisions: Annotated[int, typer.Option(min=1, help="decisions timed for each")] = 10,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads")] = 2,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    out: Annotated[Path | None, typer.Option(help="also write the tables into this folder")] = None,
) -> None:
    """Time one decision and weigh each policy, at 84×84 and 240×320, beside the paper's two ratios.

    Weights are random: neither time nor memory depends on what a policy has learned.
    """
    from altbench.cli import run as commands

    standard = ["diffusion", "bc", "alt", *(["alt:compact"] if preset == "paper" else [])]
    commands.bench_policies(preset, policy or standard, decisions, threads, device, out)


@bench_app.command("rollout")
def bench_rollout(
    task: Annotated[str, typer.Option(help="the task to play")] = "Lift",
    episodes: Annotated[int, typer.Option(min=1, help="episodes of each kind")] = 3,
    out: Annotated[Path | None, typer.Option(help="also write the table into this folder")] = None,
) -> None:
    """Time episodes of the stock robosuite loop and of ours, with images and without, in turn on one core.

    Ends with where our time goes: physics, controller, rendering, the rest. A round takes about half a minute.
    """
    from rich.console import Console

    from altbench.measure import speed as bench

    bench.rollout(Console(), task, episodes, out)


def main() -> None:
    """Run the command line; a known error is one line and exit status 2."""
    try:
        app(standalone_mode=True)
    except AltbenchError as error:
        typer.secho("error: ", fg="red", nl=False, err=True)
        typer.echo(str(error), err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
