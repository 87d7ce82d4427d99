"""Demonstrations in the control mode that a policy learns, where that is exact.

A pose action that is within reach of one control step has the same goal as one delta
action. A goal farther away has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import gymnasium
import numpy as np

from altbench.core import registry
from altbench.core.demonstration import Demonstration
from altbench.core.errors import DatasetError
from altbench.core.seeds import derive_seed
from altbench.core.task import DeltaTask, task_of
from altbench.core.types import ControlMode, Float32

REACH = 1.0 + 1e-4
"""The largest number of a delta action, with room for the rounding of float32: 5 µm and
50 µrad.
"""


def in_control_mode(demonstrations: Sequence[Demonstration], task: str, mode: ControlMode) -> tuple[Demonstration, ...]:
    """Return `demonstrations` with actions in `mode`; they change only if they must.

    Pose actions become the delta actions with the same goals. DatasetError if a goal is
    out of reach of one control step, or if the actions are deltas and `mode` is not.
    """
    if all(d.control_mode == mode for d in demonstrations):
        return tuple(demonstrations)
    if mode == "ee_pose":
        raise DatasetError(f"{task}: expected demonstrations in ee_pose, got ee_delta")
    with closing(gymnasium.make(registry.task(task).env_id, obs_type="state", control_mode="ee_pose")) as env:
        deltas = delta_task(env)
        return tuple(d if d.control_mode == mode else _with_deltas(d, deltas) for d in demonstrations)


def check_expert_reaches(task: str, root_seed: int) -> None:
    """Raise DatasetError unless the expert's goals are within reach of delta actions.

    It plays one episode, without images.
    """
    with closing(gymnasium.make(registry.task(task).env_id, obs_type="state", control_mode="ee_pose")) as env:
        played, expert, seed = delta_task(env), registry.expert(task), derive_seed(root_seed, "demo", 0)
        seen, _ = env.reset(seed=seed, options={"split": "uniform"})
        expert.reset(played, seed)
        for step in range(played.info.horizon):
            action = np.asarray(expert.act(played), np.float32)
            _check_reach(played.as_delta(action[None], seen["agent_pos"][None]), f"{task}: the expert, step {step}")
            if played.advance(action)[1]:
                return
            seen = played.observe()


def delta_task(env: gymnasium.Env[object, object]) -> DeltaTask:
    """Return the task of `env`; DatasetError if it cannot convert poses to deltas."""
    task = task_of(env)
    if not isinstance(task, DeltaTask):
        raise DatasetError(
            f"{task.info.name}: its demonstrations are in ee_pose, and it cannot say which ee_delta action aims at a "
            "pose (altbench.api.DeltaTask)"
        )
    return task


def _with_deltas(demonstration: Demonstration, task: DeltaTask) -> Demonstration:
    deltas = task.as_delta(demonstration.actions, demonstration.agent_pos)
    _check_reach(deltas, f"{task.info.name}: demonstration {demonstration.index}")
    return replace(demonstration, actions=np.clip(deltas, -1, 1), control_mode="ee_delta")


def _check_reach(deltas: Float32, where: str) -> None:
    farthest = np.abs(deltas).max(axis=1)
    if not (farthest <= REACH).all():
        step = f", frame {int(np.argmax(farthest))}" if len(deltas) > 1 else ""
        raise DatasetError(
            f"{where}{step}: expected a target within reach of one delta action, got one {farthest.max():.2f} times as "
            "far, so that no ee_delta action means the same"
        )
