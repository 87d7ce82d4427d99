"""`altbench audit`: does a policy generate its motion, or recall a demonstration?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def audit(
    checkpoint: Annotated[
        str,
        typer.Argument(
            help="A checkpoint's folder in a run, or its name (lift/alt/n30/s0) with --run.", show_default=False
        ),
    ],
    run: Annotated[Path | None, typer.Option(help="The run's folder; default: the one with the checkpoint.")] = None,
    out: Annotated[Path | None, typer.Option(help="The folder for the audit; default RUN/audit/NAME.")] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes of each case.")] = 100,
    cases: Annotated[
        str,
        typer.Option(
            help="Cases, separated by commas: in_distribution, distractors, interpolate, extrapolate_side, "
            "extrapolate_back; default: all that the task has."
        ),
    ] = "",
    distance: Annotated[
        str, typer.Option(help="`resampled` (mean distance of positions) or `dtw` (dynamic time warping).")
    ] = "resampled",
    trajectory: Annotated[
        str, typer.Option(help="`positions` of the end effector, or the commanded positions of its `actions`.")
    ] = "positions",
    workers: Annotated[
        int | None, typer.Option(min=0, help="Worker processes; default: one per core; 0: this process.")
    ] = None,
) -> None:
    """Measure whether a policy recalls its demonstrations, by the memorisation score S.

    S, from the paper, compares the policy's motion with the demonstrations, case by case.
    It is 1 if the policy replays one, 0.5 half-way between two, and
    negative far from all. Missing episodes are played first, into the run's folder. If
    it was interrupted, the same command goes on where it stopped.

    - `altbench audit results/quick/checkpoints/lift-alt-n30-s0-...`
    - `altbench audit lift/bc/n30/s0 --run results/quick --cases in_distribution,interpolate --distance dtw`
    """
    from altbench.audit import run as audit_run
    from altbench.audit.subject import find_subject
    from altbench.stats.trajectories import check_source, find_distance
    from altbench.system.console import make_console, say
    from altbench.system.devices import require_renderer
    from altbench.system.files import file_name, make_folder
    from altbench.system.fingerprint import usable_cores

    chosen, source = find_distance(distance), check_source(trajectory)
    names = [name.strip() for name in cases.split(",") if name.strip()]
    console, renderer = make_console(), require_renderer()
    subject = find_subject(checkpoint, run, renderer, names, episodes)
    folder = out or subject.run.root / "audit" / file_name(subject.name)
    make_folder(folder)
    say(console, (subject.name, "bold"), f" in {subject.run.root}", wrap=False)
    try:
        failed = audit_run.run_missing(subject, usable_cores() if workers is None else workers, console)
    except KeyboardInterrupt:
        say(console, "\nstopped; the same command goes on where this stopped")
        raise typer.Exit(130) from None
    table, undrawn = audit_run.write(subject, audit_run.audit(subject, chosen, source), chosen, source, folder)
    audit_run.show(subject, table, console)
    say(console, f"everything is in {folder}", wrap=False)
    for figure, reason in undrawn:
        say(console, ("failed", "red"), f" {figure}: {reason}")
    raise typer.Exit(1 if failed or undrawn else 0)
