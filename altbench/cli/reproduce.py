"""`altbench reproduce`: the paper's experiments, one command each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def reproduce(
    experiment: Annotated[list[str] | None, typer.Argument(help="ids or names, such as E3 or main-table")] = None,
    everything: Annotated[bool, typer.Option("--all", help="every experiment, in order")] = False,
    listing: Annotated[bool, typer.Option("--list", help="only list the experiments")] = False,
    preset: Annotated[
        Literal["small", "paper"], typer.Option(help="the policies' size: `small` for two CPU cores, `paper` for a GPU")
    ] = "small",
    out: Annotated[Path | None, typer.Option(help="where everything goes; default results/paper-small")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="worker processes; default: one per core; 0: none")] = None,
    report_only: Annotated[bool, typer.Option("--report-only", help="run nothing, report on what is there")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="only list what would be run, and what of it is done")
    ] = False,
) -> None:
    """Reproduce the paper's experiments: run what is missing, then write tables, figures and a report beside the paper's.

    Everything that is run lies under OUT/run, shared by all experiments; the same command again goes on where it stopped.

    - `altbench reproduce E3`
    - `altbench reproduce --all --preset small --workers 2`
    - `altbench reproduce toy-manifolds latent-map --report-only`
    """
    from altbench import experiments
    from altbench.cli import console as commands
    from altbench.core.errors import ConfigError
    from altbench.experiments import reproduce as work
    from altbench.system.devices import require_renderer
    from altbench.system.files import make_folder
    from altbench.system.fingerprint import usable_cores

    console = commands.make_console()
    if listing:
        work.show_list(experiments.everything(), console)
        return
    if experiment and everything:
        raise ConfigError(f"{' '.join(experiment)} and --all contradict each other; leave one of them out")
    if not experiment and not everything:
        raise ConfigError("name experiments, or say --all; `altbench reproduce --list` shows what there is")
    if report_only and dry_run:
        raise ConfigError(
            "--report-only writes reports and --dry-run writes nothing, so they contradict each other; leave one out"
        )
    named = dict.fromkeys(experiments.find(name) for name in experiment or [])
    chosen = experiments.everything() if everything else list(named)
    folder = out or Path("results") / ("paper-small" if preset == "small" else "paper")
    renderer = require_renderer()
    if dry_run:
        work.show_plans(chosen, preset, folder, renderer, console)
        return
    make_folder(folder)
    if report_only:
        for one in chosen:
            work.report(one, preset, folder, renderer, console)
        return
    try:
        count = usable_cores() if workers is None else workers
        failed = work.reproduce(chosen, preset, folder, count, renderer, console)
    except KeyboardInterrupt:
        console.print("\nstopped; the same command goes on where this stopped")
        raise typer.Exit(130) from None
    raise typer.Exit(1 if failed else 0)
