"""The audit's control: the task's scripted expert on the very same episodes.

The expert has seen no demonstration, so that its motion is certainly not recalled. How
near it comes to a demonstration shows how near the task alone brings a motion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from altbench.audit.cases import case_of
from altbench.core import registry
from altbench.core.policy import Decision, Observation, Policy, Requirements
from altbench.core.spec import Spec
from altbench.core.task import Expert, TaskEnv, TaskInfo, task_of
from altbench.results import cells
from altbench.results.run import Run
from altbench.rollout.episode import make_env, run_episode
from altbench.rollout.records import EpisodeRecord
from altbench.runner.episodes import cell_header, episode_plans
from altbench.sweeps.plan import Cell

EXPERT = "expert"
"""The control's label in tables."""
NEEDS = Requirements(cameras=(), obs_horizon=1, pred_horizon=1, action_horizon=1)


class _ExpertPolicy(Policy):
    """An expert as a policy: it reads the simulator's state, not the observation."""

    name = EXPERT

    def __init__(self, task: TaskInfo, expert: Expert, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(task, Spec())
        self.expert, self.env = expert, env

    @property
    def requirements(self) -> Requirements:
        return NEEDS

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        del slots
        self.expert.reset(self.simulated, seeds[0])

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        del observation, slots
        return Decision(np.asarray(self.expert.act(self.simulated), np.float32)[None, None])

    @property
    def simulated(self) -> TaskEnv:
        """The task behind Gymnasium's wrappers."""
        return task_of(self.env)


def play(run: Run, cell: Cell, folder: Path, say: Callable[[str], None]) -> None:
    """Let the expert play the episodes of `cell`, one of `controls`, unperturbed.

    `run`: that of the cell's demonstrations. The record lies under `folder`; if it is
    finished, nothing is played.
    """
    if cells.is_finished(folder, cell.key):
        return
    say(f"playing {cell.checkpoint.task} by its expert, {cell.column.name}")
    header = replace(cell_header(cell), label=EXPERT, policy=EXPERT)
    cells.write_cell(folder, header, list(_episodes(run, cell)))


def played(folder: Path, controls: Iterable[Cell]) -> list[tuple[Cell, tuple[EpisodeRecord, ...]]]:
    """Return the expert's recorded cells under `folder` and their episodes."""
    return [
        (cell, cells.read_cell(cells.cell_path(folder, cell.key)).episodes)
        for cell in controls
        if cells.is_recorded(folder, cell.key)
    ]


def controls(audited: Iterable[Cell]) -> list[Cell]:
    """Return the expert's cells for those that are audited: one per task and case.

    It has the expert's label, and the key of the first cell of its case. A task without
    a scripted expert has none.
    """
    found: dict[tuple[str, str], Cell] = {}
    for cell in audited:
        case = case_of(cell)
        if case is not None and cell.checkpoint.task in registry.names("expert"):
            own = replace(cell, label=EXPERT, checkpoint=replace(cell.checkpoint, policy=EXPERT, label=EXPERT))
            found.setdefault((cell.checkpoint.task, case.name), own)
    return list(found.values())


def _episodes(run: Run, cell: Cell) -> Iterator[EpisodeRecord]:
    task = registry.task(cell.checkpoint.task)
    sweep = run.sweep
    env = make_env(task, NEEDS, sweep.image_size, sweep.render_profile, sweep.horizon_of(task.name))
    with closing(env):
        expert = _ExpertPolicy(task, registry.expert(task.name), env)
        for plan in episode_plans(run, cell):
            yield run_episode(env, expert, replace(plan, perturbation=None))
