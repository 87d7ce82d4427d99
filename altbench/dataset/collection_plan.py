"""The plan of a file of demonstrations, and what of it exists already.

Demonstration i depends on (root seed, i) alone. So a file of 30 is the beginning of a
file of 120, and any process may collect any demonstration. Each is kept at once as a
part: a file of one demonstration in the folder `PATH.parts`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from altbench.core import registry
from altbench.core.demonstration import Demonstration
from altbench.core.errors import AltbenchError, DatasetError
from altbench.core.seeds import derive_seed
from altbench.core.task import TaskInfo
from altbench.core.types import ControlMode, RenderProfile
from altbench.dataset import files
from altbench.dataset.attempts import Watch
from altbench.dataset.files import Dataset
from altbench.dataset.format import DatasetMeta, code_versions, physics_versions, task_settings
from altbench.dataset.policy_expert import ExpertChoice
from altbench.dataset.recorder import Recorder
from altbench.system import lease
from altbench.system.lease import LeaseHeld, claim, held

Placement = Literal["grid", "uniform"]
MAX_ATTEMPTS = 60
"""Attempts at one demonstration, at most. An expert that fails so often at one pose
cannot solve it. ToolHang's expert solves its grid pose 25 in one of about fifteen."""
MAX_DEMONSTRATIONS = 1_000_000
"""Demonstrations in one file, at most. Also the distance in the seeds' `demo` stream
between two attempts at one demonstration, so that no two attempts share a seed. Another
value would change every repeated demonstration."""


@dataclass(frozen=True)
class CollectionPlan:
    """The task, settings, file and expert of demonstrations to collect.

    `meta` lacks the lengths that only the simulator knows: `state_dim` and
    `environment_state_dim` are 0. `expert` None: the task's own. `watch`: is shown
    every attempt; None: nobody is.
    """

    info: TaskInfo
    meta: DatasetMeta
    path: Path
    expert: ExpertChoice | None = None
    watch: Watch | None = None

    @property
    def parts(self) -> Path:
        """The folder of the finished demonstrations, while `path` is incomplete."""
        return self.path.with_name(self.path.name + ".parts")

    def part(self, index: int) -> Path:
        """Return the file of demonstration `index` while `path` is incomplete."""
        return self.parts / f"demo_{index:06d}.hdf5"

    # --------------------------------------------------------------------------------------------- one demonstration

    def seeds(self, index: int) -> list[int]:
        """Return the seeds of the attempts at demonstration `index`, first to last."""
        numbers = (index + attempt * MAX_DEMONSTRATIONS for attempt in range(MAX_ATTEMPTS))
        return [derive_seed(self.meta.root_seed, "demo", number) for number in numbers]

    def options(self, index: int) -> dict[str, Any]:
        """Return the options of the environment's `reset` for demonstration `index`."""
        return {"split": self.meta.placement, "episode": self.grid_index(index) if self._on_grid else index}

    def grid_index(self, index: int) -> int:
        """Return the number of the grid pose of `index`, or -1 off the grid."""
        return index % self.info.grid_size if self._on_grid else -1

    @property
    def _on_grid(self) -> bool:
        return self.meta.placement == "grid"

    def failed_attempts(self, demonstration: Demonstration) -> int:
        """Count the failed attempts before `demonstration`, known from its seed.

        MAX_ATTEMPTS if the seed is not one of the plan's.
        """
        seeds = self.seeds(demonstration.index)
        return seeds.index(demonstration.seed) if demonstration.seed in seeds else MAX_ATTEMPTS

    def make_recorder(self) -> Recorder:
        """Make the recorder of the plan's demonstrations."""
        return Recorder(self.info, self.meta.image_size, self.meta.drawn_profile, self.expert, self.meta.control_mode)

    # ---------------------------------------------------------------------------------------------- what is there

    def existing(self) -> Dataset | None:
        """Return the demonstrations already in `path`; None if it is missing.

        DatasetError if they were made with other settings.
        """
        if not self.path.exists():
            return None
        found = files.read(self.path)
        if differences := _differences(found.meta, self.meta):
            advice = "choose another file, or collect again with --force"
            raise DatasetError(f"{self.path}: exists with other settings: {differences}; {advice}")
        return found

    def finished_part(self, index: int) -> Demonstration | None:
        """Return demonstration `index` from its part.

        None if the part is missing, damaged or made with other settings.
        """
        if not self.part(index).exists():
            return None
        try:
            found = files.read(self.part(index))
        except DatasetError:
            return None
        made = replace(found.demonstrations[0], index=index)
        agrees = not _differences(found.meta, self.meta) and made.grid_index == self.grid_index(index)
        return made if agrees and self.failed_attempts(made) < MAX_ATTEMPTS else None

    # -------------------------------------------------------------------------------------------------- writing

    @contextmanager
    def working(self, patience_s: float) -> Iterator[None]:
        """Make the folder of parts and hold it in the block, so that one process collects.

        `patience_s`: how long to wait for another one. DatasetError if that collects
        for longer. A folder without a part is removed at the end.
        """
        self.make_parts_folder()
        with ExitStack() as stack:
            try:
                stack.enter_context(held(self._lock, patience_s=patience_s))
            except LeaseHeld as error:
                told = f"{error.holder} collects into it; wait for it, or choose another file"
                raise DatasetError(f"{self.path}: {told}") from None
            except AltbenchError as error:
                self._remove_empty_parts()
                raise DatasetError(f"{self.path}: cannot be written: {_reason(error)}") from error
            try:
                yield
            finally:
                self._remove_empty_parts()

    def _remove_empty_parts(self) -> None:
        if not any(self.parts.glob("demo_*")):
            self.remove_parts()

    @property
    def _lock(self) -> Path:
        return self.parts / ".lock"

    def make_parts_folder(self) -> None:
        """Make the folder of parts; DatasetError if that is impossible.

        So an unwritable place is found before the first demonstration.
        """
        try:
            self.parts.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or error
            raise DatasetError(f"{self.parts}: cannot be made: {reason}; choose another file") from error

    def write_part(self, demonstration: Demonstration) -> None:
        """Keep a finished demonstration as a part."""
        part = self.part(demonstration.index)
        files.write(part, [replace(demonstration, index=0)], self._complete_meta(demonstration))

    def complete(self, demonstrations: Sequence[Demonstration]) -> Dataset:
        """Write all demonstrations to `path`, remove the parts, and read `path`."""
        files.write(self.path, demonstrations, self._complete_meta(demonstrations[0]))
        self.remove_parts()
        return files.read(self.path)

    def remove_parts(self) -> None:
        """Remove the folder of parts, if there is one."""
        shutil.rmtree(self.parts, ignore_errors=True)

    def remove_idle_parts(self) -> None:
        """Remove the folder of parts unless another process works in it."""
        claimed = claim(self._lock, lease.Watch()) if self.parts.is_dir() else None
        if claimed is not None:
            self.remove_parts()
            claimed.release()

    def _complete_meta(self, demonstration: Demonstration) -> DatasetMeta:
        state = demonstration.environment_state
        lengths = {
            "state_dim": demonstration.states.shape[1],
            "environment_state_dim": 0 if state is None else state.shape[1],
        }
        return self.meta.model_copy(update=lengths)


def plan_collection(
    task_name: str,
    path: Path,
    *,
    root_seed: int,
    placement: Placement,
    image_size: tuple[int, int],
    render_profile: RenderProfile,
    expert: ExpertChoice | None,
    control_mode: ControlMode = "ee_pose",
) -> CollectionPlan:
    """Plan a file of demonstrations.

    UnknownNameError for an unknown task; ConfigError for a setting that cannot be used.
    """
    info = registry.task(task_name)
    made_by = {} if expert is None else {"expert": expert.label}
    values = {
        **task_settings(info, control_mode),
        "image_size": image_size,
        "render_profile": render_profile,
        "state_dim": 0,
        "placement": placement,
        "root_seed": root_seed,
        "versions": {**physics_versions(), **code_versions(task_name, expert is None), **made_by},
    }
    return CollectionPlan(info, DatasetMeta.parse(values, "demonstrations to collect"), path, expert)


def _differences(found: DatasetMeta, planned: DatasetMeta) -> str:
    """Return `key found (wanted planned)` for each setting that differs, or ""."""
    # A plan does not know these two; the simulator's versions fix them.
    ignored = {"state_dim", "environment_state_dim"}
    a, b = found.model_dump(exclude=ignored), planned.model_dump(exclude=ignored)
    return ", ".join(f"{key} {a[key]} (wanted {b[key]})" for key in a if a[key] != b[key])


def _reason(error: AltbenchError) -> object:
    """Return the operating system's reason for `error`, if it gave one."""
    return getattr(error.__cause__, "strerror", None) or error
