"""The things that a process keeps from one job to the next: environments and
demonstrations.
"""

from __future__ import annotations

from typing import Any

import gymnasium

from altbench.core import registry
from altbench.core.policy import Requirements
from altbench.results.demonstrations import DemonstrationReader
from altbench.rollout.episode import make_env
from altbench.sweeps.spec import SweepSpec


class Worker:
    """The owner of a process's environments and of the demonstrations that it has read.

    `raises`: errors of policies and jobs are raised, for a debugger, and not recorded.
    """

    def __init__(self, raises: bool = False) -> None:
        self.raises = raises
        self.reader = DemonstrationReader()
        self._environments: dict[tuple[Any, ...], gymnasium.Env[Any, Any]] = {}

    def environment(self, task: str, needs: Requirements, sweep: SweepSpec) -> gymnasium.Env[Any, Any]:
        """Return the environment of a task that a policy needs.

        There is one of each kind for all episodes, since making one costs as much as an
        episode.
        """
        style = sweep.image_size, sweep.render_profile, sweep.horizon_of(task)
        kind = (task, bool(needs.cameras), needs.control_mode, *style)
        if kind not in self._environments:
            self._environments[kind] = make_env(registry.task(task), needs, *style)
        return self._environments[kind]

    def close(self) -> None:
        """Close all environments; one that is needed afterwards is made anew."""
        for env in self._environments.values():
            env.close()
        self._environments.clear()
