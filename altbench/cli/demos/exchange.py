"""`altbench demos import | export | manifest`: other formats, and the known sets."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal

import typer

from altbench.cli.demos.info import info
from altbench.system.console import progress_bar


def import_demonstrations(
    file: Annotated[
        Path, typer.Argument(help="The foreign file or folder, or a Minari data set's id.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", help="The file to write, which must not exist yet.")],
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="robomimic, robosuite (its own collection format), minari or lerobot; default: what the file says.",
            show_default=False,
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            help="Which of our tasks it demonstrates, e.g. Lift; default: what the file says.",
            show_default=False,
        ),
    ] = None,
    control_mode: Annotated[
        Literal["ee_pose", "ee_delta"] | None,
        typer.Option("--control-mode", help="Actions to write; default the file's."),
    ] = None,
    image_size: Annotated[
        int | None, typer.Option("--image-size", min=8, max=2048, help="Height and width; default the file's, or 84.")
    ] = None,
    render: Annotated[
        bool, typer.Option("--render", help="Draw images from the states even if the file has images.")
    ] = False,
    model: Annotated[
        Path | None, typer.Option("--model", help="The MJCF of the states, if the file does not name it.")
    ] = None,
    filter_key: Annotated[
        str | None, typer.Option("--filter", help="Only the demonstrations of this filter key of a robomimic file.")
    ] = None,
    keep_failures: Annotated[
        bool, typer.Option("--keep-failures", help="Also write episodes that do not solve the task.")
    ] = False,
) -> None:
    """Convert demonstrations in another format to our own.

    A file that does not fit the task is refused: other name, robots, cameras, control
    frequency or joints, and actions that do not lead from one recorded state to the next.

    - `altbench demos import lift.hdf5 --out data/Lift-human.hdf5`
    - `altbench demos import lift-lerobot --out data/Lift-back.hdf5`
    - `altbench demos import low_dim.hdf5 --format robomimic --task Lift --control-mode ee_pose --out data/Lift-ph.hdf5`
    - `altbench demos import low_dim.hdf5 --format robomimic --task Lift --filter train --out data/Lift-train.hdf5`
    - `altbench demos import altbench/lift-v0 --format minari --task Lift --out data/Lift-back.hdf5`
    """
    from altbench.core.demonstration import ImportOptions
    from altbench.dataset import exchange
    from altbench.dataset.recognising import recognise

    found = recognise(file, format_name, task)
    task = found.task
    if found.words:
        typer.echo(f"{file}: {found.format_name}, {task}, since it says {found.words}")
    size = None if image_size is None else (image_size, image_size)
    options = ImportOptions(control_mode, size, render, model, filter_key)
    with progress_bar("imported") as progress:
        done = exchange.import_file(
            file, found.format_name, task, out, options, keep_failures=keep_failures, progress=progress
        )
    for count, sentence in (
        (len(done.left_out), f"left out {_listing(done.left_out)} that do not solve {task}"),
        (len(done.unusable), f"left out {_listing(done.unusable)} that hold NaN or infinity"),
        (len(done.rewarded), f"only their rewards say that {_listing(done.rewarded)} solve {task}; no state shows it"),
        (
            len(done.solved_at_start),
            f"already solved in the first frame: {_listing(done.solved_at_start)}; there `random` solves {task}, too",
        ),
    ):
        if count:
            typer.echo(sentence)
    for note in exchange.notes(done.data):
        typer.echo(f"note: {note}")
    info(out)


def _listing(names: Collection[str]) -> str:
    """Return how many names there are, and the first of them."""
    first = ", ".join(list(names)[:20])
    return f"{len(names)} ({first}{', ...' if len(names) > 20 else ''})"


def export_demonstrations(
    file: Annotated[Path, typer.Argument(help="A demonstrations file of ours (HDF5).", show_default=False)],
    format_name: Annotated[str, typer.Option("--format", help="robomimic, minari or lerobot.")],
    out: Annotated[
        str, typer.Option("--out", help="The file to write; for minari the data set's id, for lerobot a folder.")
    ],
    lossless: Annotated[
        bool, typer.Option("--lossless", help="Keep images bit for bit, as PNG instead of films (lerobot).")
    ] = False,
) -> None:
    """Write demonstrations in another format.

    - `altbench demos export data/Lift.hdf5 --format robomimic --out lift-robomimic.hdf5`
    - `altbench demos export data/Lift.hdf5 --format minari --out altbench/lift-v0`
    - `altbench demos export data/Lift.hdf5 --format lerobot --out lift-lerobot`
    """
    from altbench.dataset import exchange

    with progress_bar("exported") as progress:
        message = exchange.export_file(file, format_name, out, progress, lossless=lossless)
    typer.echo(message)


def known_sets(
    write: Annotated[bool, typer.Option("--write", help="Make the present files the known sets.")] = False,
    task: Annotated[
        list[str] | None, typer.Option("--task", help="A task; default: all that have an expert; repeatable.")
    ] = None,
    folder: Annotated[Path, typer.Option("--data", help="The folder of TASK.hdf5.")] = Path("data"),
) -> None:
    """Compare data/TASK.hdf5 with the known sets, or make them the known sets.

    Collect them first: `altbench demos collect --all`. Exit status 1: a set is not the
    known one.

    - `altbench demos manifest`
    - `altbench demos manifest --write --task Lift`
    """
    from altbench.core import registry
    from altbench.dataset import files
    from altbench.dataset import known_sets as manifest

    known, differs = manifest.load(), False
    for name in task or tasks_with_expert():
        registry.check_name("task", name)
        path = folder / f"{name}.hdf5"
        found = files.read(path, task=name)
        if write:
            known[name] = manifest.describe(found)
        same, sentence = manifest.verdict(found, known)
        differs |= not same
        typer.echo(f"{path}: {sentence}")
    if write:
        typer.echo(f"wrote {manifest.save(known)}")
    raise typer.Exit(1 if differs else 0)


def tasks_with_expert() -> list[str]:
    """Return the registered tasks that have an expert, built-ins first."""
    from altbench.core import registry

    experts = registry.names("expert")
    return [name for name in registry.names("task") if name in experts]
