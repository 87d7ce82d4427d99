"""What the jobs of a run share: the sweep, its data files and their checksums, the demonstrations that are fitted to."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from altbench.core import registry
from altbench.core.demonstration import Demonstration
from altbench.core.errors import AltbenchError, DatasetError
from altbench.dataset.format import DatasetMeta
from altbench.results import history
from altbench.results.folder import RunFolder
from altbench.sweeps.plan import Checkpoint, Plan, make_plan
from altbench.sweeps.rows import provenance_of
from altbench.sweeps.spec import SweepSpec
from altbench.system.devices import resolve_device


def open_plan(sweep: SweepSpec, root: Path, renderer: str) -> tuple[Setting, Plan, tuple[str, ...]]:
    """`sweep` planned with the demonstrations that there are for it under `root`; and what it lacks of them, in words.

    Without its demonstrations no cell of a task is found. DatasetError where the sweep's own file of them cannot be used.
    """
    device, sweep = resolve_device(sweep.device), history.continue_sweep(sweep, root)
    setting = Setting(root, sweep, device, data_files(sweep, root))
    checksums, lacking = _checksums(setting)
    return setting, make_plan(sweep, provenance_of(device, renderer, checksums)), lacking


def _checksums(setting: Setting) -> tuple[dict[tuple[str, int], str], tuple[str, ...]]:
    """The demonstrations' checksums of the tasks that have enough of them; and why the others have not."""
    found: dict[tuple[str, int], str] = {}
    lacking: list[str] = []
    for task, path in setting.data.items():
        if not path.is_file() and not setting.sweep.demonstrations.file:
            lacking.append(f"demonstrations of {task}: {setting.sweep.demonstrations.n} to collect")
            continue
        try:
            found |= data_checksums(replace(setting, data={task: path}))
        except DatasetError as error:
            if setting.sweep.demonstrations.file:
                raise
            lacking.append(f"demonstrations of {task}: {error}")
    return found, tuple(lacking)


@dataclass(frozen=True)
class Setting:
    """What every job of a run shares: its folder, its sweep, the resolved device and each task's data file."""

    root: Path
    sweep: SweepSpec
    device: str
    data: Mapping[str, Path]

    @property
    def folder(self) -> RunFolder:
        """The run's folder."""
        return RunFolder(self.root)


def training_demonstrations(setting: Setting, checkpoint: Checkpoint) -> tuple[Demonstration, ...]:
    """The nested subset of N demonstrations that the checkpoint is fitted to."""
    from altbench.dataset.subsets import subset

    task = registry.task(checkpoint.task)
    everything = _demonstrations(setting.data[checkpoint.task])
    return subset(everything, checkpoint.n, task.grid_size, setting.sweep.seed)


def _demonstrations(path: Path) -> tuple[Demonstration, ...]:
    """Read a demonstrations file; read it again only if it has changed, since another sweep may extend it in place."""
    found = path.stat()
    return _read_version(path, found.st_mtime_ns, found.st_size)


@functools.lru_cache(maxsize=2)
def _read_version(path: Path, modified_ns: int, size: int) -> tuple[Demonstration, ...]:
    from altbench.dataset.files import read

    del modified_ns, size  # parts of the cache's key
    return read(path).demonstrations


def set_threads(threads: int) -> None:
    """Fix what the same computation may otherwise round differently from run to run."""
    import torch

    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True


def data_files(sweep: SweepSpec, root: Path) -> dict[str, Path]:
    """Each task's demonstrations: the sweep's own file, or where the run collects them."""
    given = sweep.demonstrations.file
    if given and len(sweep.tasks) > 1:
        raise AltbenchError(f"demonstrations.file serves one task, the sweep has {len(sweep.tasks)}")
    return {task: Path(given) if given else RunFolder(root).demonstrations(task) for task in sweep.tasks}


def data_checksums(setting: Setting) -> dict[tuple[str, int], str]:
    """(task, N) -> checksum of the N demonstrations that policies are fitted to."""
    from altbench.dataset.files import read
    from altbench.dataset.format import digest
    from altbench.dataset.subsets import subset

    found = {}
    for task, path in setting.data.items():
        dataset, grid = read(path, task), registry.task(task).grid_size
        _check_data(setting.sweep, task, dataset.meta, path)
        for n in sorted({n for entry in setting.sweep.policies for n in entry.n}):
            found[task, n] = digest(dataset.meta, subset(dataset.demonstrations, n, grid, setting.sweep.seed))
    return found


def _check_data(sweep: SweepSpec, task: str, meta: DatasetMeta, path: Path) -> None:
    """Raise DatasetError, with both sides, where demonstrations were not made for this sweep."""
    wanted = {
        "task_version": registry.task(task).version,
        "image_size": sweep.image_size,
        "render_profile": sweep.render_profile,
    }
    if not sweep.demonstrations.file:
        wanted |= {"placement": sweep.demonstrations.placement, "root_seed": sweep.demonstrations.seed}
    for name, value in wanted.items():
        if getattr(meta, name) != value:
            raise DatasetError(
                f"{path}: its demonstrations have {name} {getattr(meta, name)}, the sweep wants {value}; "
                "choose another --out, or delete the file to collect again"
            )
