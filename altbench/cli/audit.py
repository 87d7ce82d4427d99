"""`altbench audit`: does a policy generate its motion, or recall a demonstration?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def audit(
    checkpoint: Annotated[
        str, typer.Argument(help="a checkpoint's folder in a run, or its name (lift/alt/n30/s0) with --run")
    ],
    run: Annotated[
        Path | None, typer.Option(help="the run's folder; default: the one that the checkpoint lies in")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="where the audit goes; default RUN/audit/NAME")] = None,
    episodes: Annotated[int, typer.Option(min=1, help="episodes of each case")] = 100,
    cases: Annotated[
        str,
        typer.Option(
            help="a comma between them: in_distribution, distractors, interpolate, extrapolate_side, extrapolate_back; "
            "default: all that the task has"
        ),
    ] = "",
    distance: Annotated[
        str, typer.Option(help="`resampled` (mean position distance) or `dtw` (time warping)")
    ] = "resampled",
    trajectory: Annotated[
        str, typer.Option(help="`positions` of the end effector, or the commanded ones of its `actions`")
    ] = "positions",
    workers: Annotated[int | None, typer.Option(min=0, help="worker processes; default: one per core; 0: none")] = None,
) -> None:
    """Compare what a policy does with the demonstrations it learned from: the paper's memorisation score S, case by case.

    S is 1 where the policy replays a demonstration, 0.5 half-way between two, negative far from all. Episodes that the
    run does not have yet are played first, into the run's folder; the same command again goes on where it stopped.

    - `altbench audit results/quick/checkpoints/lift-alt-n30-s0-...`
    - `altbench audit lift/bc/n30/s0 --run results/quick --cases in_distribution,interpolate --distance dtw`
    """
    from altbench.audit import run as audit_run
    from altbench.audit.subject import find_subject
    from altbench.cli import console as commands
    from altbench.stats.trajectories import check_source, find_distance
    from altbench.system.devices import require_renderer
    from altbench.system.files import make_folder
    from altbench.system.fingerprint import usable_cores

    chosen, source = find_distance(distance), check_source(trajectory)
    names = [name.strip() for name in cases.split(",") if name.strip()]
    console, renderer = commands.make_console(), require_renderer()
    subject = find_subject(checkpoint, run, renderer, names, episodes)
    folder = out or subject.run.root / "audit" / subject.name.replace("/", "-")
    make_folder(folder)
    console.print(f"[bold]{subject.name}[/] in {subject.run.root}", highlight=False, soft_wrap=True)
    try:
        failed = audit_run.run_missing(subject, usable_cores() if workers is None else workers, console)
    except KeyboardInterrupt:
        console.print("\nstopped; the same command goes on where this stopped")
        raise typer.Exit(130) from None
    table = audit_run.write(subject, audit_run.audit(subject, chosen, source), chosen, source, folder)
    audit_run.show(subject, table, console)
    console.print(f"everything is in {folder}", highlight=False, soft_wrap=True)
    raise typer.Exit(1 if failed else 0)
