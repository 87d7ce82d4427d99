"""The audits' control: the task's scripted expert on the very same episodes.

The expert has seen no demonstration, so that its motion is certainly not recalled. Its
S shows how much of a policy's S comes from the task and the data set alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np

from altbench.audit.cases import case_of
from altbench.core import registry
from altbench.core.policy import Decision, Observation, Policy, Requirements
from altbench.core.spec import Spec
from altbench.core.task import Expert, TaskEnv, TaskInfo, task_of
from altbench.experiments.shared.experiment import ExperimentRun, Say
from altbench.results import cells
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


def play(run: ExperimentRun, say: Say) -> None:
    """Let the expert play every audited case that it has not played yet, unperturbed."""
    for cell in _cells(run):
        if not cells.is_finished(run.own, cell.key):
            say(f"playing {cell.checkpoint.task} by its expert, {cell.column.name}")
            header = replace(cell_header(cell), label=EXPERT, policy=EXPERT)
            cells.write_cell(run.own, header, list(_episodes(run, cell)))


def played(run: ExperimentRun) -> list[tuple[Cell, tuple[EpisodeRecord, ...]]]:
    """Return the expert's recorded cells and their episodes."""
    return [
        (cell, cells.read_cell(cells.cell_path(run.own, cell.key)).episodes)
        for cell in _cells(run)
        if cells.is_recorded(run.own, cell.key)
    ]


def missing(run: ExperimentRun) -> tuple[str, ...]:
    """Return the names of the expert's cells that are missing."""
    return tuple(cell.name for cell in _cells(run) if not cells.is_recorded(run.own, cell.key))


def _cells(run: ExperimentRun) -> list[Cell]:
    """Return one cell per task and case: the first that the sweeps ask for.

    It has the expert's label, and the key of the cell that it is made from.
    """
    found: dict[tuple[str, str], Cell] = {}
    for cell in run.cells:
        case = case_of(cell)
        if case is not None and cell.checkpoint.task in registry.names("expert"):
            own = replace(cell, label=EXPERT, checkpoint=replace(cell.checkpoint, policy=EXPERT, label=EXPERT))
            found.setdefault((cell.checkpoint.task, case.name), own)
    return list(found.values())


def _episodes(run: ExperimentRun, cell: Cell) -> Iterator[EpisodeRecord]:
    task, planned = registry.task(cell.checkpoint.task), run.run_of(cell.checkpoint)
    sweep = planned.sweep
    env = make_env(task, NEEDS, sweep.image_size, sweep.render_profile, sweep.horizon_of(task.name))
    with closing(env):
        expert = _ExpertPolicy(task, registry.expert(task.name), env)
        for plan in episode_plans(planned, cell):
            yield run_episode(env, expert, replace(plan, perturbation=None))
