"""`altbench certify`: one page and a badge that say whether a policy recalls or generalises."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from altbench.cli import completion


def certify(
    policy: Annotated[
        str,
        typer.Argument(
            help="A registered name, your own ./file.py:Class, or a server's ws:// URL.",
            show_default=False,
            autocompletion=completion.policies,
        ),
    ],
    task: Annotated[
        str, typer.Option(help="A task with a scripted expert.", autocompletion=completion.tasks, show_default=False)
    ],
    preset: Annotated[str, typer.Option(help="A preset of the policy's; default: its first.", show_default=False)] = "",
    label: Annotated[str, typer.Option(help="Its name on the certificate; default: its own.", show_default=False)] = "",
    out: Annotated[
        Path | None, typer.Option(help="The folder for everything; default results/certificate-TASK-LABEL.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Worker processes; default: one per core; 0: this process.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the work, done and left, with its time and disk space; run nothing.")
    ] = False,
) -> None:
    """Certify a policy: does it recall its demonstrations, or generalise, or is that open?

    It is fitted to 30 demonstrations. 10 episodes of `replay`, 40 of `recall` and 40 of
    `uniform` are played by the policy, by blind playback and at random, and the last two
    by the task's expert, without images. Its motions are compared with the
    demonstrations as the expert's are, and a photograph is held before its cameras.
    Writes certificate.html, certificate.json and badge.svg.

    The price: 30 demonstrations, the policy's own fit, 100 episodes of its own, 180 of the
    floors and 80 of the expert, which are kept in the cache for other policies. With
    `open_loop` on Lift all but the demonstrations and 80 of its own episodes took 1.4
    core-minutes, with `bc` all of it 5. `--dry-run` estimates it for your policy and
    machine. If it was interrupted, the same command goes on where it stopped.

    - `altbench certify open_loop --task Lift`
    - `altbench certify bc --task Lift --dry-run`
    - `altbench certify ./mine.py:MyPolicy --task Lift --label mine --out results/mine-certified`
    """
    from altbench.cli.run import show_plan
    from altbench.submissions.certificates.certify import BADGE, PAGE_FILE, protocol
    from altbench.submissions.certificates.certify import certify as run
    from altbench.system.console import make_console, say
    from altbench.system.devices import require_renderer
    from altbench.system.files import file_name

    sweep = protocol(policy, task, preset, label)
    name = sweep.policies[0].name
    root = out or Path("results") / file_name(f"certificate-{task}-{name}")
    require_renderer()
    console = make_console()
    if dry_run:
        show_plan(sweep, root, workers, console)
        return
    say(console, f"writing to {root}", wrap=False)
    try:
        found, failed = run(sweep, root, workers, console)
    except KeyboardInterrupt:
        say(console, "\nstopped; the same command goes on where this stopped")
        raise typer.Exit(130) from None
    if found is None:
        say(console, ("no certificate", "red"), ", since not all was played; the same command tries the rest again")
        raise typer.Exit(1)
    for title, reasons in (
        ("recalls if", found.own.decision.recalls),
        ("generalises if", found.own.decision.generalises),
    ):
        for one in reasons:
            say(console, f"{title:15}", ("yes " if one.holds else "no  ", "green" if one.holds else "yellow"), one.text)
    for control in found.controls:
        say(console, f"the same rule says of {control.label}: {control.decision.word}")
    say(console, (f"{name}: {found.badge}", "bold"))
    if found.converged is False:
        say(console, f"its network has not converged ({found.epochs:.0f} passes over the frames)", style="yellow")
    say(console, f"wrote {root / PAGE_FILE} and {root / BADGE}", wrap=False)
    raise typer.Exit(1 if failed else 0)
