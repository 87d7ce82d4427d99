"""`altbench demos`: the commands for files of demonstrations."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from altbench.cli import completion
from altbench.cli.demos import exchange
from altbench.cli.demos.info import File, info
from altbench.cli.help import App
from altbench.core.errors import ConfigError, DatasetError, UnknownNameError
from altbench.system.console import progress_bar

if TYPE_CHECKING:
    from altbench.dataset.files import Dataset
    from altbench.report.attempt_films import AttemptFilms, Which

app = App(
    help="Collect, describe, show and validate demonstrations; import and export them.\n\n"
    "Start with `altbench demos collect Lift --n 30`, then `altbench demos sheet data/Lift.hdf5`.",
)


def default_path(task: str, uniform: bool = False) -> Path:
    """Return the file for demonstrations of `task` if no `--out` is given."""
    return Path("data") / f"{task}{'-uniform' if uniform else ''}.hdf5"


def collect(
    task: Annotated[
        str | None, typer.Argument(help="The task, e.g. Lift.", show_default=False, autocompletion=completion.tasks)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All tasks that have an expert, one after the other.")] = False,
    n: Annotated[int, typer.Option("--n", min=1, help="How many successful demonstrations the file shall hold.")] = 30,
    uniform: Annotated[bool, typer.Option("--uniform", help="Fresh random poses instead of the task's grid.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="The file; default data/TASK.hdf5 or data/TASK-uniform.hdf5.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Root of all seeds.")] = 0,
    image_size: Annotated[
        int, typer.Option("--image-size", min=8, max=2048, help="Height and width of the images.")
    ] = 84,
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes that share the work; 0: this process.")
    ] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Delete the file first, and collect from the beginning.")
    ] = False,
    control_mode: Annotated[
        Literal["ee_pose", "ee_delta"], typer.Option("--control-mode", help="What the recorded actions mean.")
    ] = "ee_pose",
    expert: Annotated[
        str | None,
        typer.Option("--expert", help="POLICY:PATH, a policy that sees the state; default: the task's script."),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Load the expert's file although it contains pickles, which can run code.")
    ] = False,
    watch: Annotated[
        str | None,
        typer.Option("--watch", metavar="failed|all", help="Film the attempts that fail, or all, into FILE.films."),
    ] = None,
) -> None:
    """Collect demonstrations from the task's scripted expert, or from a policy.

    If it was interrupted, the same command goes on where it stopped. If the file holds
    fewer demonstrations than --n, it adds the missing ones. The contents do not depend
    on the number of workers.

    An attempt that fails is repeated with another seed, 60 times at most; the last one
    is filmed. For those who write an expert, --watch films more.

    - `altbench demos collect Lift --n 30`
    - `altbench demos collect Lift --n 120 --uniform --out data/lift-120.hdf5`
    - `altbench demos collect --all --workers 2`
    - `altbench demos collect Lift --expert sb3:lift_sac.zip --trust --out data/lift-sac.hdf5`
    - `altbench demos collect Lift --n 3 --watch all --force`
    """
    from altbench.dataset import collecting
    from altbench.dataset.policy_expert import ExpertChoice
    from altbench.report.attempt_films import check_watched
    from altbench.system.devices import require_renderer

    which = "last" if watch is None else check_watched(watch)
    if trust and not expert:
        raise ConfigError("--trust needs --expert, whose file it is about; give an --expert or leave --trust out")
    chosen = ExpertChoice.parse(expert, trust) if expert else None
    names = _chosen(task, every, out)
    require_renderer()  # before any work
    for name in names:
        path = out or default_path(name, uniform)
        if force:
            _remove(path)
        with progress_bar(f"{name}: demonstrations") as progress, _goes_on_later():
            collecting.collect(
                name,
                n,
                path,
                root_seed=seed,
                placement="uniform" if uniform else "grid",
                image_size=(image_size, image_size),
                workers=workers,
                expert=chosen,
                control_mode=control_mode,
                progress=progress,
                watch=_films(name, path, which),
            )
        info(path)
        if watch:
            _say_films(path, watch)


def _films(task: str, path: Path, which: Which) -> AttemptFilms:
    """Return what films the attempts at the demonstrations in the file `path`."""
    from altbench.core import registry
    from altbench.report.attempt_films import AttemptFilms, films_folder

    return AttemptFilms(films_folder(path.absolute()), task, registry.task(task).control_hz, which)


def _say_films(path: Path, watch: str) -> None:
    from altbench.report.attempt_films import films_folder

    count = len(list(films_folder(path).glob("*.mp4")))
    what = f"{count} films in {films_folder(path)}" if count else "no films"
    why = {"failed": "no attempt failed", "all": "nothing had to be collected; --force collects again"}
    typer.echo(what if count else f"{what}: {why[watch]}")


def _chosen(task: str | None, every: bool, out: Path | None) -> list[str]:
    """Return the tasks to collect for; ConfigError if the arguments disagree."""
    if task is not None and every:
        raise ConfigError(f"{task} and --all contradict each other; leave one of them out")
    if every and out is not None:
        raise ConfigError("--out names one file and --all collects one for each task, data/TASK.hdf5; leave one out")
    if task is None and not every:
        raise ConfigError("expected a task, such as Lift, or --all; `altbench list` names the tasks")
    return [task] if task else exchange.tasks_with_expert()


@contextmanager
def _goes_on_later() -> Iterator[None]:
    """Turn Ctrl-C in the block into a message and exit status 130."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("\nstopped; what is finished is kept, and the same command goes on from there", err=True)
        raise typer.Exit(130) from None


def _remove(path: Path) -> None:
    """Delete a file of demonstrations and its finished parts."""
    if path.is_dir():
        raise DatasetError(f"{path}: expected a demonstrations file, but this is a folder")
    path.unlink(missing_ok=True)
    for suffix in (".parts", ".films"):
        shutil.rmtree(path.with_name(path.name + suffix), ignore_errors=True)


def play(
    file: File,
    demo: Annotated[int, typer.Option("--demo", min=0, help="Which demonstration.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="The mp4; default FILE-demoI.mp4 beside FILE.")] = None,
) -> None:
    """Write a demonstration's recorded images as an mp4, all cameras side by side.

    - `altbench demos play data/Lift.hdf5 --demo 3 --out lift.mp4`
    """
    from altbench.dataset import files
    from altbench.report import video

    found = files.read(file)
    if demo >= len(found):
        raise DatasetError(f"{file}: expected a demonstration from 0 to {len(found) - 1}, got {demo}")
    chosen, target = found.demonstrations[demo], out or file.with_name(f"{file.stem}-demo{demo}.mp4")
    frames = video.side_by_side([chosen.pixels[camera] for camera in found.meta.cameras])
    outcome = "success" if chosen.success else "failure"
    text = f"{found.meta.task} demonstration {demo}, {', '.join(found.meta.cameras)}: {outcome}"
    video.write_mp4(target, video.caption(frames, text), found.meta.control_hz)
    typer.echo(f"{target}: {len(chosen)} frames, {len(chosen) / found.meta.control_hz:.1f} s")


def sheet(
    file: File,
    rows: Annotated[int, typer.Option("--rows", min=1, max=200, help="How many demonstrations.")] = 6,
    columns: Annotated[int, typer.Option("--columns", min=2, max=60, help="How many frames of each.")] = 8,
    camera: Annotated[str | None, typer.Option("--camera", help="Which camera; default the first.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The PNG; default FILE.png beside FILE.")] = None,
) -> None:
    """Write a contact sheet: demonstrations in rows, evenly spaced frames in columns.

    - `altbench demos sheet data/Lift.hdf5`
    - `altbench demos sheet data/Lift.hdf5 --camera wrist --rows 30 --columns 12 --out wrist.png`
    """
    from altbench.dataset import files
    from altbench.report import contact_sheets

    found = files.read(file)
    chosen, target = camera or found.meta.cameras[0], out or file.with_suffix(".png")
    if chosen not in found.meta.cameras:
        raise UnknownNameError("camera", chosen, found.meta.cameras)
    picture = contact_sheets.demonstrations_sheet(found.demonstrations, chosen, rows, columns, found.meta.control_hz)
    contact_sheets.write_png(target, picture)
    typer.echo(
        f"{target}: {min(rows, len(found))} of {len(found)} demonstrations, {picture.shape[1]}×{picture.shape[0]}"
    )


def validate(
    file: File,
    replay: Annotated[
        bool, typer.Option(help="Also execute every demonstration's actions again, and draw a few images again.")
    ] = True,
) -> None:
    """Check a file's structure, values, checksum, actions and images, and replay its actions.

    A few images are compared with what is drawn from the states beside them. Also
    compares the file with the known set of its task (`altbench demos manifest`).

    - `altbench demos validate data/Lift.hdf5`
    - `altbench demos validate --no-replay data/Lift.hdf5` (starts no simulator)
    """
    from altbench.dataset import action_checks, files, known_sets

    found = files.read(file)
    typer.echo(f"{file}: structure, values and checksum of {len(found)} demonstrations are right")
    typer.echo(f"{file}: {known_sets.verdict(found, known_sets.load())[1]}")
    action_checks.check_space_of(file, found)
    if replay:
        for sentence in action_checks.check_motion_of(file, found):
            typer.echo(f"{file}: {sentence}")
        _check_images(file, found)
        _check_replay(file, found)


def _check_images(file: Path, found: Dataset) -> None:
    """Compare images with states; DatasetError if they do not belong together."""
    from altbench.dataset.exchange import check_images

    compared = check_images(found, str(file))
    what = f"{compared} images are those of their states" if compared else "no images compared: states cannot be set"
    typer.echo(f"{file}: {what}")


def _check_replay(file: Path, found: Dataset) -> None:
    """Execute all recorded actions again; DatasetError if demonstrations fail."""
    from altbench.dataset import collecting

    failed: list[int] = []
    with progress_bar("replayed") as progress:
        for i, success in enumerate(collecting.replay(found.meta.task, found.demonstrations)):
            failed += [] if success else [i]
            progress(i + 1, len(found), {"failed": float(len(failed))})
    if failed:
        # Digests of code are long; their first digits tell them apart.
        versions = ", ".join(f"{name} {number[:16]}" for name, number in sorted(found.meta.versions.items()))
        raise DatasetError(f"{file}: demonstrations {failed} fail when replayed; they were made with {versions}")
    typer.echo(f"{file}: all {len(found)} succeed when replayed")


for command in (collect, info, play, sheet, validate):
    app.command()(command)
app.command("import")(exchange.import_demonstrations)
app.command("export")(exchange.export_demonstrations)
app.command("manifest")(exchange.known_sets)
