"""What a run asks of its demonstrations before any work.

They fit into an episode, their actions can be learned, and their images are those that
the policies will see.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from altbench.core import registry
from altbench.core.errors import ConfigError, DatasetError
from altbench.core.types import ControlMode
from altbench.dataset import control_modes
from altbench.dataset.files import DatasetInfo, info
from altbench.dataset.format import UNKNOWN_PROFILE
from altbench.dataset.subsets import subset
from altbench.results.run import Run
from altbench.sweeps.plan import Checkpoint

log = logging.getLogger(__name__)


def check_files(run: Run, tasks: Iterable[str]) -> None:
    """Raise ConfigError if demonstrations do not fit the rows; warn if results may suffer.

    `tasks`: those whose files exist or are not needed. Images are not read.
    """
    for task in tasks:
        path = run.data.get(task)
        if path is None:  # no row needs demonstrations
            continue
        found = info(path)
        if found.meta.task != task:
            continue  # reading it says so
        _check_lengths(run, task, path, found)
        _check_control_modes(run, task, path, found.meta.control_mode)
        if found.meta.render_profile == UNKNOWN_PROFILE:
            log.warning(
                "%s: its images are of an unknown renderer; policies see those of render_profile %s, which differ",
                path,
                run.sweep.render_profile,
            )


def check_collectable(run: Run, tasks: Iterable[str]) -> None:
    """Raise ConfigError if what would be collected has no actions that a row can learn.

    `tasks`: those whose demonstrations are missing.
    """
    for task in tasks:
        for point in _learners(run, task):
            _check_mode(point, run.sweep.demonstrations.control_mode, "demonstrations.control_mode")
            if _is_to_convert(point, run.sweep.demonstrations.control_mode):
                with _refused_for(point):
                    control_modes.check_expert_reaches(task, run.sweep.demonstrations.seed)


def _learners(run: Run, task: str) -> list[Checkpoint]:
    """Return the task's checkpoints that learn, of each row the one with most data."""
    points = [point for point in run.plan.checkpoints if point.task == task and point.trainable]
    return list({point.label: point for point in sorted(points, key=lambda point: point.n)}.values())


@dataclass(frozen=True)
class _Episode:
    """A demonstration's place in its file, on the grid, and its number of frames."""

    index: int
    grid_index: int
    frames: int


def _check_lengths(run: Run, task: str, path: Path, found: DatasetInfo) -> None:
    """Raise ConfigError if demonstrations are longer than an episode may be.

    If the sweep sets the horizon, it may be meant: that is a warning.
    """
    every = [_Episode(i, *one) for i, one in enumerate(zip(found.grid_indices, found.lengths, strict=True))]
    own, chosen = registry.task(task).horizon, run.sweep.horizon_of(task)
    horizon, n = chosen or own, max(n for entry in run.sweep.policies for n in entry.n)
    used = subset(every, min(n, len(every)), found.meta.grid_size, run.sweep.seed)
    longer = [one.frames for one in used if one.frames > horizon]
    if not longer:
        return
    what = (
        f"{path}: {len(longer)} of {len(used)} demonstrations are longer than an episode of {task}, {horizon} steps: "
        f"the longest takes {max(longer)}, and what ends as late can never succeed"
    )
    if chosen is None:
        raise ConfigError(f"{what}; set horizon = {max(longer)} or more in the sweep, or horizon = {own} to keep it")
    log.warning("%s; horizon = %d or more in the sweep gives it the time", what, max(longer))


def _check_control_modes(run: Run, task: str, path: Path, mode: ControlMode) -> None:
    for point in _learners(run, task):
        _check_mode(point, mode, str(path))
        if _is_to_convert(point, mode) and not run.is_fitted(point):
            with _refused_for(point):
                control_modes.in_control_mode(run.demonstrations(point), task, point.control_mode)


def _check_mode(point: Checkpoint, mode: ControlMode, where: str) -> None:
    """Raise ConfigError if delta actions are to be learned as poses."""
    if (mode, point.control_mode) == ("ee_delta", "ee_pose"):
        known = "control_mode" in registry.policy(point.policy).config_type.model_fields
        setting = 'set config = { control_mode = "ee_delta" }, or ' if known else ""
        raise ConfigError(
            f"{point.name}: expected demonstrations in ee_pose, which it learns, got ee_delta ({where}); {setting}import "
            "the file again with `--control-mode ee_pose`, or collect with that"
        )


def _is_to_convert(point: Checkpoint, mode: ControlMode) -> bool:
    return (mode, point.control_mode) == ("ee_pose", "ee_delta")


@contextmanager
def _refused_for(point: Checkpoint) -> Iterator[None]:
    """Turn a DatasetError in the block into a ConfigError that says what to do."""
    try:
        yield
    except DatasetError as error:
        raise ConfigError(
            f"{point.name}: it learns actions in ee_delta, and the demonstrations have none ({error}); set "
            'demonstrations.control_mode = "ee_delta", or collect a file with `--control-mode ee_delta`'
        ) from None
