"""The demonstrations of a run: where their files are, what they must agree with, and
reading each file once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from altbench.core import registry
from altbench.core.demonstration import Demonstration
from altbench.core.errors import AltbenchError, DatasetError
from altbench.dataset.format import UNKNOWN_PROFILE, DatasetMeta
from altbench.results.folder import RunFolder
from altbench.sweeps.needs import needs_demonstrations
from altbench.sweeps.spec import SweepSpec

FILES_KEPT = 2
"""Files that a reader holds in memory: a job needs one, and the jobs of two tasks may
alternate.
"""


class DemonstrationReader:
    """Reads files of demonstrations, and holds the last ones in memory.

    A file is read again after it has changed, since collecting more demonstrations
    extends the file in place.
    """

    def __init__(self) -> None:
        self._held: dict[Path, tuple[tuple[int, int], tuple[Demonstration, ...]]] = {}

    def read(self, path: Path) -> tuple[Demonstration, ...]:
        """Return all demonstrations in `path`.

        Raise DatasetError if it is missing or damaged.
        """
        from altbench.dataset.files import read

        version = _version(path)
        held = self._held.pop(path, None)
        if held is None or held[0] != version:
            for oldest in list(self._held)[: len(self._held) - FILES_KEPT + 1]:
                del self._held[oldest]
            held = version, read(path).demonstrations
        self._held[path] = held  # at the end, so that the file used longest ago comes first
        return held[1]


def _version(path: Path) -> tuple[int, int]:
    """Return when a file last changed, and its size; zeros for a missing file."""
    if not path.is_file():
        return 0, 0
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def data_files(sweep: SweepSpec, root: Path, needed: bool | None = None) -> dict[str, Path]:
    """Return each task's file of demonstrations: the sweep's own, or the one that the
    run collects.

    Empty if nothing needs them. `needed`: None asks the sweep (`needs_demonstrations`).
    """
    if not (needs_demonstrations(sweep) if needed is None else needed):
        return {}
    given = sweep.demonstrations.file
    if given and len(sweep.tasks) > 1:
        raise AltbenchError(f"demonstrations.file serves one task, the sweep has {len(sweep.tasks)}")
    return {task: Path(given).absolute() if given else RunFolder(root).demonstrations(task) for task in sweep.tasks}


def data_checksums(sweep: SweepSpec, data: Mapping[str, Path]) -> dict[tuple[str, int], str]:
    """Return (task, N) -> checksum of the N demonstrations that policies are fitted to.

    DatasetError if a file is missing, damaged, or was not made for this sweep.
    """
    from altbench.dataset.files import read
    from altbench.dataset.format import digest
    from altbench.dataset.subsets import subset

    found = {}
    for task, path in data.items():
        dataset, grid = read(path, task), registry.task(task).grid_size
        _check_made_for(sweep, task, dataset.meta, path)
        for n in sorted({n for entry in sweep.policies for n in entry.n}):
            found[task, n] = digest(dataset.meta, subset(dataset.demonstrations, n, grid, sweep.seed))
    return found


def available_checksums(
    sweep: SweepSpec, data: Mapping[str, Path]
) -> tuple[dict[tuple[str, int], str], tuple[str, ...]]:
    """Return the checksums of the tasks that have their demonstrations, and what the
    others lack.

    DatasetError if the sweep's own file cannot be used: no run would collect that one.
    """
    found: dict[tuple[str, int], str] = {}
    lacking: list[str] = []
    for task, path in data.items():
        if not path.is_file() and not sweep.demonstrations.file:
            lacking.append(f"demonstrations of {task}: {sweep.demonstrations.n} to collect")
            continue
        try:
            found |= data_checksums(sweep, {task: path})
        except DatasetError as error:
            if sweep.demonstrations.file:
                raise
            lacking.append(f"demonstrations of {task}: {error}")
    return found, tuple(lacking)


def _check_made_for(sweep: SweepSpec, task: str, meta: DatasetMeta, path: Path) -> None:
    """Raise DatasetError, with both sides, if demonstrations were not made for this
    sweep.
    """
    wanted = {
        "task_version": registry.task(task).version,
        "image_size": sweep.image_size,
        "render_profile": sweep.render_profile,
    }
    if not sweep.demonstrations.file:
        entry = sweep.demonstrations
        wanted |= {"placement": entry.placement, "root_seed": entry.seed, "control_mode": entry.control_mode}
    elif meta.render_profile == UNKNOWN_PROFILE:
        del wanted["render_profile"]
    for name, value in wanted.items():
        if getattr(meta, name) != value:
            raise DatasetError(
                f"{path}: its demonstrations have {name} {getattr(meta, name)}, the sweep wants {value}; "
                f"{_advice(sweep, name, getattr(meta, name))}"
            )
    if not sweep.demonstrations.file:
        _check_collected_by(task, meta, path)


def _advice(sweep: SweepSpec, name: str, found: object) -> str:
    """Say what to do about demonstrations with another setting `name` than the sweep's."""
    if not sweep.demonstrations.file:
        return "choose another --out, or delete the file to collect again"
    if name == "task_version":
        return "collect or import them again into another file"
    value = list(found) if isinstance(found, tuple) else f'"{found}"'
    drawn = "import them again with --render" + (" and --image-size" if name == "image_size" else "")
    return f"set {name} = {value} in the sweep, or {drawn} into another file"


def _check_collected_by(task: str, meta: DatasetMeta, path: Path) -> None:
    """Raise DatasetError if a third party's task or expert has changed since it collected.

    Files of before hold no digests, and are believed.
    """
    from altbench.dataset.format import code_versions

    for what, digest in code_versions(task, own_expert=True).items():
        found = meta.versions.get(what, digest)
        if found != digest:
            raise DatasetError(
                f"{path}: collected with {what} {found[:12]}, which is {digest[:12]} now: the code was edited; "
                "choose another --out, or delete the file to collect again"
            )
