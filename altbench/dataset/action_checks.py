"""The checks of actions that imports make, for a file of ours."""

from __future__ import annotations

from pathlib import Path

from altbench.core import registry
from altbench.core.actions import check_actions
from altbench.core.motion import check_motion
from altbench.dataset.exchange import is_solved_at_start
from altbench.dataset.files import Dataset
from altbench.dataset.state_viewer import TaskStateViewer


def check_space_of(path: Path, found: Dataset) -> None:
    """Raise DatasetError unless all actions fit their control mode and the frames beside them.

    It starts no simulator.
    """
    info = registry.task(found.meta.task)
    for d in found.demonstrations:
        check_actions(f"{path}: demonstration {d.index}", d.actions, d.agent_pos, info, d.control_mode)


def check_motion_of(path: Path, found: Dataset) -> list[str]:
    """Raise DatasetError unless the actions explain the motion; return what else is seen.

    A task whose states cannot be set is not checked.
    """
    with TaskStateViewer(registry.task(found.meta.task)) as viewer:
        if not viewer.can_look:
            return [f"states of {found.meta.task} cannot be set, so the motion was not checked"]
        check_motion(str(path), viewer, found.demonstrations)
        solved = [str(d.index) for d in found.demonstrations if is_solved_at_start(viewer, d)]
    if not solved:
        return ["actions fit their space and explain the recorded motion"]
    return [
        "actions fit their space and explain the recorded motion",
        f"demonstrations {', '.join(solved)} are solved in their first frame; there `random` succeeds, too",
    ]
