"""The audit's control: the task's scripted expert on the very same episodes.

The expert has seen no demonstration, so that its motion is certainly not recalled. How
near it comes to a demonstration shows how near the task alone brings a motion.

Its episodes depend on the task and their beginnings, and on no policy. So their key holds
these alone, and what was played for one policy serves all others: in the same folder, and
by the user's cache in every folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from altbench.audit.cases import case_of
from altbench.core import registry
from altbench.core.contents import source_digest
from altbench.core.policy import Decision, Observation, Policy, Requirements
from altbench.core.spec import Spec, canonical, digest
from altbench.core.task import Expert, TaskEnv, TaskInfo, task_of
from altbench.dataset.format import code_versions, physics_versions
from altbench.results import cells
from altbench.results.run import Run
from altbench.rollout.episode import make_env, run_episode
from altbench.rollout.records import CellHeader, EpisodeRecord
from altbench.runner.episodes import cell_header, episode_plans
from altbench.sweeps.needs import FROM_DEMONSTRATIONS
from altbench.sweeps.plan import Cell
from altbench.sweeps.spec import CLEAN
from altbench.system.cache import cache_folder

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

    `run`: that of the cell's demonstrations. The record lies under `folder`. If it is
    finished, or the cache has it, nothing is played.
    """
    if _key(folder, cell, cells.is_finished):
        return
    shared = _cache()
    if cells.is_finished(shared, cell.key):
        say(f"the expert's episodes of {cell.checkpoint.task}, {cell.split}, are known from {shared}")
    else:
        say(f"playing {cell.checkpoint.task} by its expert, {cell.split}")
        cells.write_cell(shared, _header(cell), list(_episodes(run, cell)))
    # Each folder has its own record: a cache may be emptied, and results are passed on.
    cells.write_cell(folder, _header(cell), _read(shared, cell.key))


def played(folder: Path, controls: Iterable[Cell]) -> list[tuple[Cell, tuple[EpisodeRecord, ...]]]:
    """Return the expert's recorded cells under `folder` and their episodes."""
    found = ((cell, _key(folder, cell, cells.is_recorded)) for cell in controls)
    return [(cell, _read(folder, key)) for cell, key in found if key]


def is_played(folder: Path, cell: Cell) -> bool:
    """Return whether `cell`, one of `controls`, has a record under `folder`."""
    return bool(_key(folder, cell, cells.is_recorded))


def controls(audited: Iterable[Cell]) -> list[Cell]:
    """Return the expert's cells for those that are audited: one per task and case.

    A task without a scripted expert has none.
    """
    found: dict[tuple[str, str], Cell] = {}
    for cell in audited:
        case = case_of(cell)
        if case is not None and cell.checkpoint.task in registry.names("expert"):
            found.setdefault((cell.checkpoint.task, case.name), control_of(cell))
    return list(found.values())


def control_of(cell: Cell) -> Cell:
    """Return the expert's cell for an audited one: the expert's label, and a key of its own.

    The key is the digest of all that the expert's episodes depend on. `specification` stays
    the audited cell's.
    """
    point = replace(cell.checkpoint, policy=EXPERT, label=EXPERT)
    return replace(cell, label=EXPERT, checkpoint=point, key=digest(_specification(cell)))


def _key(folder: Path, cell: Cell, there: Callable[[Path, str], bool]) -> str:
    """Return the key of the record of `cell` under `folder`; empty without one.

    The expert's records had the audited cell's key once. Those that are left still count.
    """
    return next((key for key in (cell.key, digest(json.loads(cell.specification))) if there(folder, key)), "")


def _specification(cell: Cell) -> dict[str, Any]:
    """Return all that the expert's episodes depend on: nothing of the policy, its fit or its images."""
    task, known = registry.task(cell.checkpoint.task), json.loads(cell.specification)
    begins_at = cell.checkpoint.data_checksum if cell.column.split in FROM_DEMONSTRATIONS else ""
    return {
        "player": EXPERT,
        "task": [task.name, task.version, code_versions(task.name, own_expert=True)],
        "data": begins_at,
        "versions": {name: known["versions"][name] for name in physics_versions()},
        **{name: known.get(name) for name in ("split", "event", "episodes", "seed", "protocol", "horizon")},
    }


def _header(cell: Cell) -> CellHeader:
    """Return the header of the expert's record: unperturbed, whatever the audited cell is."""
    point = cell.checkpoint
    name = f"{point.name}/{cell.split}/{CLEAN}"
    own = canonical(_specification(cell))
    return replace(
        cell_header(cell), name=name, perturbation=CLEAN, severity=0, preset="", checkpoint_key="", spec_json=own
    )


def _cache() -> Path:
    """Return the folder that keeps the expert's records for all runs of this very code.

    Built-in code has a version in the key; the digest guards whoever changes it without.
    """
    code = digest({name: source_digest(name) for name in registry.OWN_PACKAGES})
    return cache_folder() / f"expert-{code[:16]}"


def _read(folder: Path, key: str) -> tuple[EpisodeRecord, ...]:
    return cells.read_cell(cells.cell_path(folder, key)).episodes


def _episodes(run: Run, cell: Cell) -> Iterator[EpisodeRecord]:
    task = registry.task(cell.checkpoint.task)
    sweep = run.sweep
    env = make_env(task, NEEDS, sweep.image_size, sweep.render_profile, sweep.horizon_of(task.name))
    with closing(env):
        expert = _ExpertPolicy(task, registry.expert(task.name), env)
        for plan in episode_plans(run, cell):
            yield run_episode(env, expert, replace(plan, perturbation=None))
