"""`altbench adapt`: which conventions does a policy have, and which adapter makes it work?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from altbench.cli import completion


def adapt(
    policy: Annotated[
        str,
        typer.Argument(
            help="A checkpoint's folder, a registered name, ./file.py:Class, or a URL.",
            show_default=False,
            autocompletion=completion.policies,
        ),
    ],
    task: Annotated[str, typer.Option(help="The task that it was made for.", show_default=False)],
    demos: Annotated[
        Path | None,
        typer.Option(help="A file of the task's demonstrations, with ee_pose actions; default: 30 of its expert."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The adapter to write, if one is needed.")] = Path("adapter.toml"),
    episodes: Annotated[int, typer.Option(min=1, help="Episodes of `recall` that prove it.")] = 20,
    rollouts: Annotated[bool, typer.Option("--rollouts/--no-rollouts", help="Prove it in episodes.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of the frames that are compared, and of the episodes.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    """Find the adapter under which a policy of other conventions works, or say that none does.

    The policy is shown demonstrated observations under many conventions of images,
    proprioception and actions. Its answers are compared with the demonstrated actions.
    The adapter that fits is written as TOML, for `adapter = "adapter.toml"` in a sweep's
    row or for `--adapter`, and is proved in episodes.

    Exit status: 0, it works; 1, no convention explains the policy, or it fails in
    episodes; 2, wrong input.

    - `altbench adapt ./mine.py:MyPolicy --task Lift`
    - `altbench adapt ws://127.0.0.1:8000 --task Lift --episodes 10`
    - `altbench adapt results/quick/checkpoints/lift-bc-n30-s0-... --task Lift --no-rollouts`
    """
    from altbench.adapting import doctor
    from altbench.system.console import make_console
    from altbench.system.devices import resolve_device

    console = make_console(quiet=as_json)
    wanted = doctor.Wanted(policy, task, demos, out, episodes if rollouts else 0, seed, resolve_device(device))
    result = doctor.run(wanted, console)
    if as_json:
        import json

        typer.echo(json.dumps(result.as_json(), indent=1))
    else:
        doctor.show(result, console)
    raise typer.Exit(0 if result.works else 1)
