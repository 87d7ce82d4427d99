"""The commands, with their arguments and help texts.

Each imports its work when it runs, so that `altbench --help` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from altbench.cli import completion
from altbench.cli.adapt import adapt
from altbench.cli.audit import audit
from altbench.cli.bench import app as bench_app
from altbench.cli.check_policy import check_policy
from altbench.cli.compare import compare, report
from altbench.cli.demos.app import app as demos_app
from altbench.cli.envs import app as envs_app
from altbench.cli.experiments import app as experiments_app
from altbench.cli.experiments import reproduce
from altbench.cli.help import MORE, RESULTS, START, STATUS, App, MainGroup
from altbench.cli.new import app as new_app
from altbench.cli.serve import serve
from altbench.cli.submissions.certify import certify
from altbench.cli.submissions.leaderboard import app as leaderboard_app
from altbench.cli.submissions.submit import app as submit_app
from altbench.cli.worker import worker
from altbench.core.errors import AltbenchError
from altbench.system.console import debugging, error_line, one_line, prepare_streams
from altbench.system.fingerprint import package_version

app = App(
    name="altbench",
    cls=MainGroup,
    help="Does a manipulation policy generalise, or recall? A benchmark in simulation of ALT, diffusion policy, "
    "behaviour cloning and your own policy.\n\n"
    "Start with `altbench doctor`, then `altbench run quick`.",
    epilog=f"{STATUS} `altbench COMMAND --help` shows the options of a command, with examples.",
    pretty_exceptions_enable=False,
    add_completion=True,
)
RunArgument = Annotated[Path, typer.Argument(help="A run's folder, such as results/quick.", show_default=False)]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"altbench {package_version('altbench')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


@app.command(rich_help_panel=START)
def run(
    sweep: Annotated[
        str,
        typer.Argument(
            help="A built-in sweep (`smoke`, `quick`, ...: see `altbench list sweeps`), a .toml file, or a run's "
            "sweep.json.",
            show_default=False,
            autocompletion=completion.sweeps,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The folder for all that the run writes; default results/NAME.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Worker processes; default: one per core; 0: this process, which raises errors."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="List the work, done and left, with its time and disk space; run nothing."),
    ] = False,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="One more policy: a registered name, your own ./file.py:Class, a checkpoint's folder, or a server's "
            "ws:// URL; repeatable.",
            autocompletion=completion.policies,
        ),
    ] = None,
    adapter: Annotated[
        str | None,
        typer.Option(help="How the conventions of the --policy differ: a TOML file, as `altbench adapt` writes it."),
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(help="Episodes of each cell; `replay` has at most one for each demonstration.")
    ] = None,
    n: Annotated[
        list[int] | None, typer.Option("--n", help="Demonstrations that each policy is fitted to; repeatable.")
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(help="A task of the sweep to keep; repeatable.", autocompletion=completion.tasks),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="A row of the sweep to keep, by its label; repeatable.", metavar="LABEL")
    ] = None,
    split: Annotated[list[str] | None, typer.Option(help="A split of the sweep to keep; repeatable.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Root of all seeds but that of collecting demonstrations.", show_default=False)
    ] = None,
    data_seed: Annotated[
        list[int] | None,
        typer.Option(min=0, help="Root of a data set; repeatable: all of the sweep is run for each."),
    ] = None,
    executor: Annotated[
        str, typer.Option(help="What does the work: local (this machine), worker, ray or slurm.", metavar="NAME")
    ] = "local",
    engine: Annotated[
        list[str] | None,
        typer.Option(help="A setting of ray or slurm, such as cpus=8; repeatable.", metavar="NAME=VALUE"),
    ] = None,
    allow_mixed: Annotated[
        bool, typer.Option("--allow-mixed", help="Let machines of several classes take part; every table says so.")
    ] = False,
    log: Annotated[
        str,
        typer.Option(
            help="Where training curves and final tables also go: tensorboard, wandb, trackio, mlflow or none.",
            metavar="SINK",
        ),
    ] = "none",
) -> None:
    """Run a sweep: collect demonstrations, train, roll out, write tables and figures.

    If it was interrupted, the same command goes on where it stopped.

    `--episodes`, `--n`, `--task`, `--only`, `--split`, `--device`, `--seed` and `--data-seed`
    change the sweep, and its name with it: `altbench run quick --episodes 5` writes into
    results/quick-5ep. Cells that two sweeps in one `--out` share are played once.

    - `altbench run smoke`
    - `altbench run quick --policy ./mine.py:MyPolicy`
    - `altbench run smoke --policy results/quick/checkpoints/lift-bc-n30-s0-...`
    - `altbench run quick --only alt --only bc --split uniform --episodes 5`
    - `altbench run my.toml --out results/mine --workers 4`
    - `altbench run my.toml --dry-run`
    - `altbench run my.toml --log tensorboard`
    - `altbench run my.toml --executor slurm --engine tasks=8 --engine cpus=16 --dry-run`
    """
    from altbench.cli import run as commands
    from altbench.sweeps.overrides import override

    named = commands.load(sweep)
    commands.check_policies(policy or [], named)
    effective = override(
        named,
        policies=policy or [],
        adapter=adapter,
        episodes=episodes,
        n=n or [],
        tasks=task or [],
        only=only or [],
        splits=split or [],
        device=device,
        seed=seed,
        data_seeds=data_seed or [],
    )
    chosen = commands.choose_engine(executor, engine or [], workers, allow_mixed)
    commands.run(effective, out, chosen, dry_run, named.name, commands.choose_sink(log))


@app.command("list", rich_help_panel=START)
def list_names(
    kind: Annotated[
        str | None,
        typer.Argument(
            help="tasks, policies, perturbations, sweeps or experiments; default: all, in short.",
            show_default=False,
            autocompletion=completion.kinds,
        ),
    ] = None,
) -> None:
    """List the tasks, policies, perturbations, sweeps and experiments.

    - `altbench list`
    - `altbench list policies`
    """
    from altbench.cli import listing

    listing.list_everything(kind)


@app.command("show", rich_help_panel=START)
def show_name(
    name: Annotated[
        str,
        typer.Argument(
            help="A name that `altbench list` shows, a policy as ./file.py:Class, a checkpoint's folder, a server's ws:// "
            "URL, or a sweep's file.",
            show_default=False,
            autocompletion=completion.everything,
        ),
    ],
) -> None:
    """Show a policy's settings, a task, a perturbation, a sweep's rows, or an experiment.

    - `altbench show alt`
    - `altbench show Lift`
    - `altbench show quick`
    - `altbench show ./mine.py:MyPolicy`
    - `altbench show ws://127.0.0.1:8000`
    """
    from altbench.cli import show

    show.show_name(name)


@app.command(rich_help_panel=START)
def doctor(
    play: Annotated[
        bool, typer.Option("--run", help="Also play fixed episodes, and compare them with recorded ones.")
    ] = False,
) -> None:
    """Check this installation: versions, renderer, GPU, disk, processor.

    Each problem comes with advice. With --run, three short episodes are played and
    two tasks drawn: states and images must agree with recorded ones, within the
    tolerances that are printed. Exit status 1: there is a problem.

    - `altbench doctor`
    - `altbench doctor --run`
    """
    from altbench.system.doctor import diagnose, render
    from altbench.system.installation import check_installation

    findings = [*diagnose(), *(check_installation() if play else [])]
    render(findings)
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


@app.command(rich_help_panel=RESULTS)
def video(
    cell: Annotated[
        list[str],
        typer.Argument(
            help="A cell's name, such as lift/alt/n30/s0/recall/clean, or the first characters of its key; several: "
            "they are shown beside each other.",
            show_default=False,
        ),
    ],
    run_folder: Annotated[Path, typer.Option("--run", help="The run's folder.")] = Path("results/quick"),
    episodes: Annotated[int, typer.Option(min=1, help="How many episodes.")] = 4,
    grid: Annotated[
        bool, typer.Option("--grid", help="Show the episodes beside each other, at the same time.")
    ] = False,
    rerun: Annotated[
        int | None,
        typer.Option(min=0, help="Write this episode for the Rerun viewer instead, as .rrd.", metavar="EPISODE"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write; default in RUN/videos or RUN/rerun.")] = None,
) -> None:
    """Replay the first episodes of a cell and write them as one mp4.

    In a grid each tile has the row's label, the step, the OOD score and the flag; its
    frame is orange while the flag is raised, and at the end green or red.

    - `altbench video lift/alt/n30/s0/recall/clean`
    - `altbench video lift/bc/n30/s0/uniform/clean --run results/mine --episodes 8 --out bc.mp4`
    - `altbench video lift/alt/n30/s0/uniform/clean lift/bc/n30/s0/uniform/clean --episodes 3`
    - `altbench video lift/alt/n30/s0/recall/clean --rerun 0`
    """
    from altbench.cli import run as commands

    commands.video(cell, run_folder, episodes, grid, rerun, out)


@app.command(rich_help_panel=RESULTS)
def redraw(
    folder: RunArgument,
    fingerprint: Annotated[
        bool, typer.Option(help="--no-fingerprint: figures do not say below what made them, for papers and slides.")
    ] = True,
) -> None:
    """Write a run's tables, figures and page again, as this version draws them; run nothing.

    A published run suffices: it reads `episodes.parquet`, `measures/` and
    `fingerprint.json`. The fingerprint stays as it was.

    Of reports of experiments it draws the figures, from the tables beside them. A figure
    whose table was not published stays as it is.

    - `altbench redraw results/quick`
    - `altbench redraw results/paper-small --no-fingerprint`
    """
    from altbench.cli import run as commands

    commands.redraw(folder, fingerprint)


app.command("report", rich_help_panel=RESULTS)(report)
app.command("worker", rich_help_panel=MORE)(worker)
app.command("compare", rich_help_panel=RESULTS)(compare)
app.command("adapt", rich_help_panel=START)(adapt)
app.command("audit", rich_help_panel=RESULTS)(audit)
app.command("certify", rich_help_panel=RESULTS)(certify)
app.command("check-policy", rich_help_panel=START)(check_policy)
app.command("serve", rich_help_panel=MORE)(serve)
app.add_typer(new_app, name="new", rich_help_panel=START)
app.add_typer(submit_app, name="submit", rich_help_panel=RESULTS)
app.add_typer(leaderboard_app, name="leaderboard", rich_help_panel=RESULTS)
app.add_typer(demos_app, name="demos", help="Collect, inspect and play demonstrations.", rich_help_panel=MORE)
app.add_typer(envs_app, name="envs", rich_help_panel=MORE)
app.add_typer(bench_app, name="bench", rich_help_panel=MORE)
app.add_typer(experiments_app, name="experiments", rich_help_panel=MORE)
app.command("reproduce", rich_help_panel=MORE)(reproduce)


def main() -> None:
    """Run the command line; print an error as one line, with exit status 2.

    These are the known errors, and those of files and texts that the system refuses. Any
    other exception is a bug and keeps its traceback. With ALTBENCH_DEBUG=1 all keep it.
    """
    prepare_streams()
    try:
        app(standalone_mode=True)
    except (AltbenchError, OSError, UnicodeEncodeError, OverflowError) as error:
        if debugging():
            raise
        typer.secho("error: ", fg="red", nl=False, err=True)
        typer.echo(error_line(error), err=True)
        for line in getattr(error, "last_lines", ()):
            typer.echo(f"  {one_line(line)}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
