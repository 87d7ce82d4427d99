"""Import of demonstrations in other formats into our files, and export out of them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from altbench.core import registry
from altbench.core.actions import check_actions
from altbench.core.demonstration import (
    Demonstration,
    ImportOptions,
    Recording,
    StateViewer,
)
from altbench.core.errors import ConfigError, DatasetError
from altbench.core.motion import check_motion
from altbench.core.task import TaskInfo
from altbench.core.types import Progress, no_progress
from altbench.dataset import files
from altbench.dataset.files import Dataset
from altbench.dataset.format import UNKNOWN_PROFILE, DatasetMeta, physics_versions, task_settings
from altbench.dataset.image_checks import ImageCheck, ImagesError
from altbench.dataset.state_viewer import TaskStateViewer


@dataclass(frozen=True)
class Imported:
    """The result of an import. Episodes have the names that they have in the file.

    `left_out`: episodes that do not solve the task; they are not written. `unusable`:
    the name of an episode that holds NaN -> the reason; not written, either.
    `rewarded`: written as successes because their rewards say so; no state shows it.
    `solved_at_start`: written, but solved in their first frame, so that a policy that
    acts at random solves them, too.
    """

    data: Dataset
    left_out: tuple[str, ...]
    unusable: Mapping[str, str] = field(default_factory=dict)
    rewarded: tuple[str, ...] = ()
    solved_at_start: tuple[str, ...] = ()


def import_file(
    path: Path,
    format_name: str,
    task_name: str,
    out: Path,
    options: ImportOptions | None = None,
    *,
    keep_failures: bool = False,
    progress: Progress = no_progress,
) -> Imported:
    """Write the demonstrations of the foreign file `path` to our new file `out`.

    Episodes that do not solve the task are left out, unless `keep_failures`. `progress`
    counts them as `failed`. DatasetError if `out` exists, or if `path` is damaged or
    does not fit the task, or if its actions cannot be those that were executed; the
    message names what was expected and what came.
    """
    info, importer = registry.task(task_name), registry.importer(format_name)
    if out.exists():
        raise DatasetError(f"{out}: exists; choose another file, or remove it")
    with TaskStateViewer(info) as viewer:
        recording = importer(path, viewer, options or ImportOptions())
        check = ImageCheck(viewer, recording.episodes, "--render draws them from the states")
        try:
            kept, left_out = _sort(path, info, recording, check, keep_failures, progress)
            check.finish()
        except ImagesError as error:
            raise DatasetError(f"{path}: {error}") from None
        _refuse_nothing(path, task_name, recording, kept)
        check_motion(str(path), viewer, kept, [_name(recording, d.index) for d in kept])
        start = [_name(recording, d.index) for d in kept if is_solved_at_start(viewer, d)]
        meta = _meta(info, recording, kept[0], format_name)
        files.write(out, _renumbered(kept), meta.model_copy(update={"render_profile": _profile(info, check)}))
    rewarded = tuple(_name(recording, d.index) for d in kept if d.index in recording.rewarded)
    return Imported(files.read(out), tuple(left_out), dict(recording.unusable), rewarded, tuple(start))


def _profile(info: TaskInfo, check: ImageCheck) -> str:
    """Return the render profile of the checked images."""
    with TaskStateViewer(info, "robosuite") as other:
        return check.profile({"robosuite": other})


def _sort(
    path: Path, info: TaskInfo, recording: Recording, check: ImageCheck, keep_failures: bool, progress: Progress
) -> tuple[list[Demonstration], list[str]]:
    kept: list[Demonstration] = []
    left_out: list[str] = []
    for made in recording.demonstrations:
        name = _name(recording, made.index)
        if made.success or keep_failures:
            check_actions(f"{path}: {name}", made.actions, made.agent_pos, info, made.control_mode)
            check.look(made)
            kept.append(made)
        else:
            left_out.append(name)
        done = len(kept) + len(left_out) + len(recording.unusable)
        progress(done, recording.episodes, {"failed": float(len(left_out))})
    return kept, left_out


def _name(recording: Recording, index: int) -> str:
    return recording.names[index] if recording.names else str(index)


def _refuse_nothing(path: Path, task_name: str, recording: Recording, kept: Sequence[Demonstration]) -> None:
    """Raise DatasetError if no episode is left to write."""
    if kept:
        return
    if recording.unusable and len(recording.unusable) == recording.episodes:
        raise DatasetError(next(iter(recording.unusable.values())))
    raise DatasetError(f"{path}: expected demonstrations that solve {task_name}, got {recording.episodes} that do not")


def is_solved_at_start(viewer: StateViewer, d: Demonstration) -> bool:
    """Return whether the task is solved in the demonstration's first frame."""
    return viewer.look(d.states[0], object_pose=d.initial_state.object_pose).success


def _renumbered(demonstrations: Sequence[Demonstration]) -> Iterator[Demonstration]:
    return (replace(d, index=i) for i, d in enumerate(demonstrations))


def _meta(info: TaskInfo, recording: Recording, first: Demonstration, format_name: str) -> DatasetMeta:
    """Return the settings of imported demonstrations: off the grid, without seeds."""
    state = first.environment_state
    values = {
        **task_settings(info, recording.control_mode),
        "image_size": recording.image_size,
        "state_dim": first.states.shape[1],
        "environment_state_dim": 0 if state is None else state.shape[1],
        "placement": "uniform",
        "root_seed": 0,
        "versions": {**physics_versions(), "imported from": format_name, **recording.made_with},
    }
    return DatasetMeta.parse(values, "demonstrations to import")


def notes(found: Dataset) -> list[str]:
    """Return what a user of imported demonstrations must know, a sentence each."""
    horizon, lengths = registry.task(found.meta.task).horizon, [len(d) for d in found.demonstrations]
    longer, said = [length for length in lengths if length > horizon], []
    if longer:
        said.append(
            f"{len(longer)} of {len(lengths)} demonstrations are longer than an episode of {found.meta.task}, {horizon} "
            f"steps: the longest takes {max(longer)}; a sweep needs horizon = {max(longer)} or more"
        )
    if found.meta.render_profile == UNKNOWN_PROFILE:
        said.append("its images are of an unknown renderer; --render would draw them as policies see them")
    if found.meta.control_mode == "ee_delta":
        said.append(
            'its actions are ee_delta: policies need config = { control_mode = "ee_delta" }, or the file --control-mode '
            "ee_pose"
        )
    return said


def check_images(found: Dataset, where: str) -> int:
    """Compare some of a file's images with its states; return how many.

    0 if the task's states cannot be set. DatasetError, which begins with `where`, if
    they do not belong together.
    """
    with TaskStateViewer(registry.task(found.meta.task), found.meta.drawn_profile) as viewer:
        if not viewer.can_look:
            return 0
        check = ImageCheck(viewer, len(found), "collect again, or import again with --render")
        try:
            for demonstration in found.demonstrations:
                check.look(demonstration)
            check.finish()
        except ImagesError as error:
            raise DatasetError(f"{where}: {error}") from None
    return check.images


def export_file(
    path: Path, format_name: str, out: str, progress: Progress = no_progress, *, lossless: bool = False
) -> str:
    """Write the demonstrations of our file `path` in another format as `out`.

    `lossless`: keep images bit for bit in a format that else loses some; ConfigError if
    it has no such choice. Return a sentence for the user that says how to read them.
    """
    exporter: Any = registry.exporter(format_name)
    if lossless and "lossless" not in inspect.signature(exporter).parameters:
        raise ConfigError(f"--lossless: expected a format with two kinds of images, such as lerobot, got {format_name}")
    choices = {"lossless": True} if lossless else {}
    found = files.read(path)
    meta = found.meta

    def each() -> Iterator[Demonstration]:
        for done, demonstration in enumerate(found.demonstrations, start=1):
            yield demonstration
            progress(done, len(found), {"failed": 0.0})

    recording = Recording(meta.control_mode, meta.image_size, len(found), each(), meta.versions)
    with TaskStateViewer(registry.task(meta.task), meta.drawn_profile) as viewer:
        said: str = exporter(recording, viewer, out, **choices)
        return said
