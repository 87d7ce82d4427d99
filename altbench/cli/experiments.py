"""`altbench experiments`: the paper's experiments. `altbench reproduce` is another name
of `altbench experiments run`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from altbench.cli import completion
from altbench.cli.help import App
from altbench.core.errors import ConfigError

if TYPE_CHECKING:
    from altbench.experiments.shared.experiment import Experiment
    from altbench.experiments.shared.part import Part

app = App(
    help="Reproduce the paper's experiments: list them, see what they would run, run them, report on them.\n\n"
    "All experiments share the run folder OUT/run, so that work which several of them need is done once. "
    "Each has a report in a folder of its own, such as OUT/E3-main-table.\n\n"
    "Start with `altbench experiments list`, then `altbench experiments run E3`.",
)

PresetName = Literal["small", "paper"]
Names = Annotated[
    list[str] | None,
    typer.Argument(help="ids or names, such as E3 or main-table", autocompletion=completion.experiments),
]
Everything = Annotated[bool, typer.Option("--all", help="every experiment, in order")]
PresetOption = Annotated[
    PresetName, typer.Option(help="the policies' size: `small` for two CPU cores, `paper` for a GPU")
]
Out = Annotated[Path | None, typer.Option(help="where everything goes; default results/paper-small or results/paper")]
Workers = Annotated[int | None, typer.Option(min=0, help="worker processes; default: one per core; 0: none")]
DataSeeds = Annotated[
    list[int] | None,
    typer.Option("--data-seed", min=0, help="root of a data set; repeatable: each has a folder of its own, OUT/dataN"),
]
Only = Annotated[
    list[str] | None, typer.Option("--only", help="label of a row to play now; repeatable; default: every row")
]
Splits = Annotated[
    list[str] | None, typer.Option("--split", help="split to play now; repeatable; default: every split")
]


@app.command("list")
def list_experiments() -> None:
    """List the experiments, and the question that each of them answers.

    - `altbench experiments list`
    """
    from altbench.cli.listing import KINDS
    from altbench.system.console import make_console, show

    show(make_console(), KINDS["experiments"]())


@app.command()
def run(
    experiment: Names = None,
    everything: Everything = False,
    preset: PresetOption = "small",
    out: Out = None,
    workers: Workers = None,
    data_seed: DataSeeds = None,
    only: Only = None,
    split: Splits = None,
) -> None:
    """Run what is missing of experiments, then write their reports beside the paper's
    numbers.

    Stop it whenever you like: the same command goes on where it stopped. To see first
    what it would do, use `altbench experiments plan`. With `--only` and `--split` some
    rows and splits are played; the report names what is missing.

    - `altbench experiments run E3`
    - `altbench experiments run --all --preset small --workers 2`
    - `altbench experiments run E3 --data-seed 3 --data-seed 4`
    - `altbench experiments run E3 E6 --only fisher --only alt --split recall`
    """
    from altbench.experiments import reproduce as work
    from altbench.system.console import make_console, say
    from altbench.system.devices import require_renderer
    from altbench.system.files import make_folder
    from altbench.system.fingerprint import usable_cores

    chosen, folder, console = _chosen(experiment, everything), _folder(out, preset), make_console()
    part = _part(chosen, preset, only, split)
    renderer = require_renderer()
    make_folder(folder)
    try:
        count = usable_cores() if workers is None else workers
        if data_seed:
            seeds = _each_once(data_seed)
            failed = work.reproduce_replicates(chosen, preset, folder, seeds, count, renderer, console, part)
        else:
            failed = work.reproduce(chosen, preset, folder, count, renderer, console, part)
    except KeyboardInterrupt:
        say(console, "\nstopped; the same command goes on where this stopped")
        raise typer.Exit(130) from None
    raise typer.Exit(1 if failed else 0)


@app.command()
def report(
    experiment: Names = None,
    everything: Everything = False,
    preset: PresetOption = "small",
    out: Out = None,
    data_seed: DataSeeds = None,
) -> None:
    """Write reports from the records that exist, and run nothing.

    A report names what is missing and leaves its numbers empty. This works while
    `altbench experiments run` is at work.

    - `altbench experiments report E3 latent-map`
    - `altbench experiments report E3 --data-seed 3 --data-seed 4`
    """
    from altbench.experiments import reproduce as work
    from altbench.system.console import make_console
    from altbench.system.devices import require_renderer
    from altbench.system.files import make_folder

    chosen, folder, console = _chosen(experiment, everything), _folder(out, preset), make_console()
    renderer = require_renderer()
    make_folder(folder)
    if data_seed:
        work.report_replicates(chosen, preset, folder, _each_once(data_seed), renderer, console)
        return
    for one in chosen:
        work.report(one, preset, folder, renderer, console)


@app.command()
def plan(
    experiment: Names = None,
    everything: Everything = False,
    preset: PresetOption = "small",
    out: Out = None,
    workers: Workers = None,
    data_seed: DataSeeds = None,
    only: Only = None,
    split: Splits = None,
) -> None:
    """List what experiments would run, what of it is done, and how long the rest takes.
    Nothing is run or written.

    - `altbench experiments plan --all`
    - `altbench experiments plan E3 --workers 8`
    - `altbench experiments plan E3 --data-seed 3 --data-seed 4`
    """
    from altbench.experiments import reproduce as work
    from altbench.system.console import make_console
    from altbench.system.devices import require_renderer
    from altbench.system.fingerprint import usable_cores

    chosen = _chosen(experiment, everything)
    part = _part(chosen, preset, only, split)
    chosen = [work.only_part(one, part) for one in chosen]
    count = usable_cores() if workers is None else workers
    folder, renderer, console = _folder(out, preset), require_renderer(), make_console()
    if data_seed:
        work.show_replicated_plans(chosen, preset, folder, _each_once(data_seed), renderer, console, count)
    else:
        work.show_plans(chosen, preset, folder, renderer, console, count)


def reproduce(
    experiment: Names = None,
    everything: Everything = False,
    listing: Annotated[bool, typer.Option("--list", hidden=True)] = False,
    preset: PresetOption = "small",
    out: Out = None,
    workers: Workers = None,
    report_only: Annotated[bool, typer.Option("--report-only", hidden=True)] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", hidden=True)] = False,
    data_seed: DataSeeds = None,
    only: Only = None,
    split: Splits = None,
) -> None:
    """Reproduce the paper's experiments: another name of `altbench experiments run`.

    `altbench experiments` also has `list`, `plan` and `report`.

    - `altbench reproduce E3`
    - `altbench reproduce --all --preset small --workers 2`
    """
    # Reports and READMEs that are published name these flags; each stands for a
    # command.
    if report_only and dry_run:
        raise ConfigError(
            "--report-only writes reports and --dry-run writes nothing, so they contradict each other; leave one out"
        )
    if listing:
        list_experiments()
    elif report_only:
        if only or split:
            raise ConfigError("a report is of the whole experiment: leave out --only and --split, or --report-only")
        report(experiment, everything, preset, out, data_seed)
    elif dry_run:
        plan(experiment, everything, preset, out, workers, data_seed, only, split)
    else:
        run(experiment, everything, preset, out, workers, data_seed, only, split)


def _chosen(names: list[str] | None, everything: bool) -> list[Experiment]:
    """Return the experiments that are named, each once, or all; ConfigError for none,
    or for both.
    """
    from altbench import experiments

    if names and everything:
        raise ConfigError(f"{' '.join(names)} and --all contradict each other; leave one of them out")
    if not names and not everything:
        raise ConfigError("name experiments, or say --all; `altbench experiments list` shows what there is")
    return experiments.everything() if everything else list(dict.fromkeys(map(experiments.find, names or [])))


def _part(chosen: list[Experiment], preset: PresetName, only: list[str] | None, split: list[str] | None) -> Part:
    """Return the rows and splits that are named; UnknownNameError for one that no experiment has."""
    from altbench.experiments.shared.part import Part

    part = Part(tuple(only or ()), tuple(split or ()))
    part.check([sweep for one in chosen for sweep in one.sweeps(preset)])
    return part


def _each_once(seeds: list[int]) -> list[int]:
    return list(dict.fromkeys(seeds))


def _folder(out: Path | None, preset: PresetName) -> Path:
    return out or Path("results") / ("paper-small" if preset == "small" else "paper")
