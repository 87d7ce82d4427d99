"""A job's files as bytes, for machines that do not see the run's folder.

`inputs` is what a job needs, `made` what it made. Names are relative to a run's folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from altbench.core.errors import AltbenchError
from altbench.results import cells
from altbench.results.run import Run
from altbench.runner.jobs import CollectJob, FitJob, Job, MeasureJob, RolloutJob
from altbench.system import sealed
from altbench.system.files import new_folder
from altbench.system.job_log import append

Parcel = Mapping[str, bytes]
"""File's name in a run's folder -> its bytes."""
_LOGS, _CHECKPOINTS, _DEMONSTRATIONS = "logs", "checkpoints", "demonstrations"
_NOTES = ".traceback"


def data_of(job: Job) -> str:
    """Return the task whose demonstrations a job reads; empty if it reads none."""
    if isinstance(job, CollectJob):
        return job.task
    if isinstance(job, FitJob):
        return job.checkpoint.task
    return job.cell.checkpoint.task if isinstance(job, RolloutJob) else ""


def demonstrations(run: Run, task: str) -> Parcel:
    """Return the task's demonstrations; empty if the run has none."""
    path = run.data.get(task)
    return {f"{_DEMONSTRATIONS}/{task}.hdf5": path.read_bytes()} if path is not None and path.is_file() else {}


def checkpoint(run: Run, job: Job) -> Path | None:
    """Return the folder of the checkpoint that a job plays or measures; None without one."""
    if isinstance(job, RolloutJob):
        point = job.cell.checkpoint
    elif isinstance(job, MeasureJob):
        point = job.measurement.checkpoint
    else:
        return None
    return run.checkpoint_folder(point) if point.trainable else None


def folder(path: Path) -> Parcel:
    """Return all files of a checkpoint's folder."""
    files = (one for one in path.rglob("*") if one.is_file())
    return {f"{_CHECKPOINTS}/{path.name}/{one.relative_to(path).as_posix()}": one.read_bytes() for one in files}


def recorded(run: Run, job: Job) -> Parcel:
    """Return the recorded cells whose episodes a job keeps."""
    if not isinstance(job, RolloutJob):
        return {}
    paths = (cells.cell_path(run.root, key) for key in (job.cell.key, *job.older))
    return {f"{cells.CELLS}/{path.name}": path.read_bytes() for path in paths if path.is_file()}


def lay_out(root: Path, parcel: Parcel) -> None:
    """Write the files of a parcel under `root`, but those that are there in that size."""
    for name, content in parcel.items():
        path = _inside(root, name)
        if not path.is_file() or path.stat().st_size != len(content):
            sealed.write_bytes(path, content)


def seen(root: Path) -> dict[str, tuple[int, int]]:
    """Return name -> time of change and size of each file under `root`."""
    return {name: (path.stat().st_mtime_ns, path.stat().st_size) for name, path in _files(root)}


def made(root: Path, before: Mapping[str, tuple[int, int]]) -> dict[str, bytes]:
    """Return the files under `root` that are new or changed since `before`, and delete
    them; beats are left out.
    """
    found = {}
    for name, path in list(_files(root)):
        stat = path.stat()
        if before.get(name) != (stat.st_mtime_ns, stat.st_size):
            if not name.startswith(".progress/") or name.endswith(_NOTES):
                found[name] = path.read_bytes()
            path.unlink()
    return found


def bring_home(run: Run, parcel: Parcel) -> None:
    """Write what a job made elsewhere into the run's folder: each file and each
    checkpoint whole or not at all.
    """
    whole: dict[str, dict[str, bytes]] = {}
    for name, content in parcel.items():
        first, *rest = PurePosixPath(name).parts
        if first == _CHECKPOINTS and len(rest) > 1:
            whole.setdefault(rest[0], {})["/".join(rest[1:])] = content
        elif first == _LOGS:
            append(_inside(run.root, name), content.decode("utf-8", "backslashreplace"))
        elif first == cells.CELLS:
            sealed.write_bytes(cells.cell_path(run.root, PurePosixPath(name).stem), content)
        else:
            sealed.write_bytes(_inside(run.root, name), content)
    for point, files in whole.items():
        with new_folder(_inside(run.folder.checkpoints, point)) as temporary:
            for name, content in files.items():
                path = _inside(temporary, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    for path in root.rglob("*"):
        if path.is_file():
            yield path.relative_to(root).as_posix(), path


def _inside(root: Path, name: str) -> Path:
    """Return the path `name` under `root`; AltbenchError if it leads out of it."""
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or name.startswith("/"):
        raise AltbenchError(f"expected a file's name inside the run's folder, got {name!r}")
    return root.joinpath(*parts)
