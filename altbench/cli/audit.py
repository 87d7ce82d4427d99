"""`altbench audit`: are a policy's motions nearer to demonstrations than an expert's?"""

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
    """Measure whether a policy recalls its demonstrations, beside an expert that cannot.

    Case by case, it tells how near successful motions come to a demonstration, and the
    share that is nearer than all but 5 % of the scripted expert's on the same episodes.
    The expert has seen no demonstration. The paper's memorisation score S stands in a
    second table: it is high for the expert as well, and shows no recall by itself.
    Missing episodes are played first, into the run's folder, and the expert's beside the
    audit. If it was interrupted, the same command goes on where it stopped.

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
        audit_run.play_expert(subject, folder / "expert", console)
    except KeyboardInterrupt:
        say(console, "\nstopped; the same command goes on where this stopped")
        raise typer.Exit(130) from None
    audited = audit_run.audit(subject, chosen, source)
    control = audit_run.audit_expert(subject, folder / "expert", chosen, source)
    tables, undrawn = audit_run.write(subject, audited, control, chosen, source, folder)
    audit_run.show(subject, tables, console)
    say(console, f"everything is in {folder}", wrap=False)
    for figure, reason in undrawn:
        say(console, ("failed", "red"), f" {figure}: {reason}")
    raise typer.Exit(1 if failed or undrawn else 0)
