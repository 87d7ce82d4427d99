"""A task's simulator without images: where episodes begin, and where recorded actions lead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np

from altbench.core import registry
from altbench.core.errors import AltbenchError, SimulationDiverged
from altbench.core.policy import Requirements
from altbench.core.task import InitialState, task_of
from altbench.core.types import ControlMode
from altbench.rollout.episode import make_env
from altbench.rollout.plan import EpisodePlan
from altbench.rollout.records import EpisodeRecord, StepRecord

POSITION_TOLERANCE = 1e-4
"""The largest difference of any number of `agent_pos` (m, or parts of a rotation) between a
recorded step and the same step replayed. On one processor it is 0."""
STATE_TOLERANCE = 1e-9
"""The largest difference of any number of an initial state (m, rad), which one draw gives."""


@dataclass
class Simulators:
    """The environments of a verification, one for each task, control mode and horizon."""

    _made: dict[tuple[str, str, int | None], gymnasium.Env[Any, Any]] = field(default_factory=dict)

    def of(self, task: str, mode: ControlMode, horizon: int | None) -> gymnasium.Env[Any, Any]:
        """Return the environment, which shows no images."""
        key = (task, mode, horizon)
        if key not in self._made:
            needs = Requirements(cameras=(), control_mode=mode)
            self._made[key] = make_env(registry.task(task), needs, (84, 84), "fast", horizon)
        return self._made[key]

    def close(self) -> None:
        """Close all environments."""
        for env in self._made.values():
            env.close()


@contextmanager
def simulators() -> Iterator[Simulators]:
    """Yield environments that are closed with the block."""
    with ExitStack() as stack:
        made = Simulators()
        stack.callback(made.close)
        yield made


def control_mode(task: str, trajectory: Sequence[StepRecord]) -> ControlMode:
    """Return the control mode that the length of the recorded actions tells."""
    info = registry.task(task)
    deltas = bool(trajectory) and len(trajectory[0].action) == info.action_dim("ee_delta")
    return "ee_delta" if deltas else "ee_pose"


def begin(env: gymnasium.Env[Any, Any], plan: EpisodePlan) -> InitialState:
    """Begin a planned episode; return the state in which it begins."""
    env.reset(seed=plan.seed, options=dict(plan.options))
    return task_of(env).initial_state()


@dataclass(frozen=True)
class Replay:
    """Where recorded actions lead: `success` and `ended` after the last, and the largest `gap`.

    `gap`: the largest difference of any number of `agent_pos` at any step. `fault`: why
    the actions could not be executed; empty: they could.
    """

    success: bool
    ended: bool
    early: bool
    gap: float
    fault: str = ""

    def disagrees(self, record: EpisodeRecord) -> str:
        """Return how this differs from the record, in words; empty: it agrees."""
        if self.fault:
            return self.fault
        if self.early:
            return "the episode ends before its last recorded action"
        if record.status == "ok" and not self.ended:
            return "the episode does not end with its last recorded action"
        if self.success != (record.success and record.status == "ok"):
            return f"recorded as {'a success' if record.success else 'no success'}, replayed it is the opposite"
        if not self.gap <= POSITION_TOLERANCE:
            return f"the arm moves elsewhere, by up to {self.gap:.2g}"
        return ""


def replay(env: gymnasium.Env[Any, Any], record: EpisodeRecord) -> Replay:
    """Execute an episode's recorded actions in `env`, where the episode has begun."""
    task = task_of(env)
    gap, success, ended = 0.0, False, False
    for number, step in enumerate(record.trajectory, 1):
        try:
            _, terminated, truncated, info = task.advance(np.array(step.action, np.float32))
        except (AltbenchError, SimulationDiverged) as error:
            return Replay(False, False, False, gap, f"step {number}: {error}"[:300])
        found = np.asarray(task.observe(pixels=False)["agent_pos"], np.float32)
        recorded = np.array(step.agent_pos, np.float32)
        if found.shape != recorded.shape:
            return Replay(False, False, False, gap, f"expected agent_pos of {len(found)} numbers, got {len(recorded)}")
        if not np.isfinite(recorded).all():
            return Replay(False, False, False, gap, f"step {number}: a recorded number is not finite")
        gap = max(gap, float(np.abs(found - recorded).max(initial=0.0)))
        success, ended = bool(info["is_success"]), bool(terminated or truncated)
        if ended and number < len(record.trajectory):
            return Replay(success, True, True, gap)
    return Replay(success, ended, False, gap)
