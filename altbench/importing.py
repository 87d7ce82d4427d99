"""Demonstrations in foreign formats: into a file of ours, and out of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from altbench import dataset, registry
from altbench.api import Demonstration, ImportWishes, Progress, Recording, TaskInfo, no_progress
from altbench.dataset import Dataset, DatasetMeta
from altbench.errors import DatasetError
from altbench.stage import TaskStage


@dataclass(frozen=True)
class Imported:
    """What came of an import: `left_out` numbers the file's episodes that do not solve the task (not written)."""

    data: Dataset
    left_out: tuple[int, ...]


def import_file(
    path: Path,
    format_name: str,
    task_name: str,
    out: Path,
    wishes: ImportWishes | None = None,
    *,
    keep_failures: bool = False,
    progress: Progress = no_progress,
) -> Imported:
    """Write the demonstrations of the foreign file `path` to `out`; episodes that fail are left out, and counted.

    DatasetError where `path` is damaged or does not fit the task (both sides in the message), or where `out` exists.
    """
    info, importer = registry.task(task_name), registry.importer(format_name)
    if out.exists():
        raise DatasetError(f"{out}: exists; choose another file, or remove it")
    with TaskStage(info) as stage:
        recording = importer(path, stage, wishes or ImportWishes())
        kept, left_out = _sort(recording, keep_failures, progress)
        if not kept:
            raise DatasetError(
                f"{path}: expected demonstrations that solve {task_name}, got {recording.episodes} that do not"
            )
        dataset.write(out, _renumbered(kept), _meta(info, recording, kept[0], format_name))
    return Imported(dataset.read(out), tuple(left_out))


def _sort(recording: Recording, keep_failures: bool, progress: Progress) -> tuple[list[Demonstration], list[int]]:
    kept: list[Demonstration] = []
    left_out: list[int] = []
    for done, made in enumerate(recording.demonstrations, start=1):
        if made.success or keep_failures:
            kept.append(made)
        else:
            left_out.append(made.index)
        progress(done, recording.episodes, {"failed": float(len(left_out))})
    return kept, left_out


def _renumbered(demonstrations: Sequence[Demonstration]) -> Iterator[Demonstration]:
    return (replace(d, index=i) for i, d in enumerate(demonstrations))


def _meta(info: TaskInfo, recording: Recording, first: Demonstration, format_name: str) -> DatasetMeta:
    """Settings of a file of imported demonstrations: off the grid, of no seed of ours."""
    state = first.environment_state
    values = {
        "task": info.name,
        "task_version": info.version,
        "env_id": info.env_id,
        "control_mode": recording.control_mode,
        "control_hz": info.control_hz,
        "image_size": recording.image_size,
        "cameras": info.cameras,
        "pose_names": info.pose_names,
        "action_dim": info.action_dim(recording.control_mode),
        "agent_pos_dim": info.agent_pos_dim,
        "state_dim": first.states.shape[1],
        "environment_state_dim": 0 if state is None else state.shape[1],
        "placement": "uniform",
        "grid_size": info.grid_size,
        "root_seed": 0,
        "versions": {
            **{name: version(name) for name in ("mujoco", "robosuite")},
            "imported from": format_name,
            **recording.made_with,
        },
    }
    return DatasetMeta.parse(values, "demonstrations to import")


def export_file(path: Path, format_name: str, out: str, progress: Progress = no_progress) -> str:
    """Write the demonstrations of our file `path` in a foreign format as `out`; how to read them, for the user."""
    exporter = registry.exporter(format_name)
    found = dataset.read(path)
    meta = found.meta

    def each() -> Iterator[Demonstration]:
        for done, demonstration in enumerate(found.demonstrations, start=1):
            yield demonstration
            progress(done, len(found), {"failed": 0.0})

    recording = Recording(meta.control_mode, meta.image_size, len(found), each(), meta.versions)
    with TaskStage(registry.task(meta.task), meta.render_profile) as stage:
        return exporter(recording, stage, out)
