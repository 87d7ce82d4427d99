"""Demonstrations from a task's scripted expert: collected one by one, resumed after any interruption; and replayed.

Demonstration i stands at grid pose i modulo the grid's size (or at a drawn pose) and depends on (root seed, i) alone: a
file of 30 is the beginning of a file of 120. It ends with the frame whose action made the task succeed, nothing after.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np

from altbench.core import registry
from altbench.core.demonstration import Demonstration
from altbench.core.errors import ConfigError, DatasetError, SimulationDiverged
from altbench.core.seeds import derive_seed
from altbench.core.task import Expert, InitialState, TaskInfo, task_of
from altbench.core.types import Float32, Float64, Progress, RenderProfile, no_progress
from altbench.dataset import files
from altbench.dataset.files import Dataset
from altbench.dataset.format import DatasetMeta
from altbench.dataset.policy_expert import ExpertChoice, PolicyExpert
from altbench.system import workers as worker_pool

Placement = Literal["grid", "uniform"]
MAX_ATTEMPTS = 20
MAX_DEMONSTRATIONS = 1_000_000  # also the distance in the demo stream between two attempts at one demonstration


def collect(
    task_name: str,
    n: int,
    path: Path | str,
    *,
    root_seed: int = 0,
    placement: Placement = "grid",
    image_size: tuple[int, int] = (84, 84),
    render_profile: RenderProfile = "fast",
    workers: int = 0,
    expert: ExpertChoice | None = None,
    progress: Progress = no_progress,
) -> Dataset:
    """The file `path` with at least `n` successful demonstrations, of which only those missing are collected.

    A failing attempt is repeated with a new seed at the same grid pose. Each finished demonstration is kept at once in
    the folder `PATH.parts`, which goes when `path` is complete: an interruption costs one demonstration at most. An
    existing `path` is extended; DatasetError where it was made with other settings. `workers` processes share the work
    (0: this one does it); the contents do not depend on how many. `expert`: a policy in place of the task's own expert.
    `progress` reports after each demonstration, with the failed attempts (`failed`) so far.
    """
    path = Path(path)
    if not 1 <= n <= MAX_DEMONSTRATIONS:
        raise ConfigError(f"expected 1 to {MAX_DEMONSTRATIONS:,} demonstrations, got {n:,}")
    info = registry.task(task_name)
    meta = _planned_meta(info, root_seed, placement, image_size, render_profile, expert)
    plan = _Plan(info, meta, path, expert)
    existing = plan.existing()
    if existing is not None and len(existing) >= n:
        shutil.rmtree(plan.parts, ignore_errors=True)
        progress(n, n, {"failed": float(sum(map(plan.failed_attempts, existing.demonstrations)))})
        return existing
    finished = _collect_missing(plan, n, () if existing is None else existing.demonstrations, workers, progress)
    files.write(path, finished, plan.complete_meta(finished[0]))
    shutil.rmtree(plan.parts, ignore_errors=True)
    return files.read(path)


def replay(task_name: str, demonstrations: Sequence[Demonstration]) -> Iterator[bool]:
    """Whether each demonstration's actions, executed from its initial state, succeed again; renders nothing."""
    if not demonstrations:
        return
    mode = demonstrations[0].control_mode
    with closing(_make(registry.task(task_name), obs_type="state", control_mode=mode)) as env:
        for d in demonstrations:
            env.reset(seed=0, options={"split": "replay", "initial_state": d.initial_state})
            yield any(task_of(env).advance(action)[1] for action in d.actions)


@dataclass(frozen=True)
class _Plan:
    """What is to be collected and where; `meta` lacks the lengths that only the simulator knows."""

    info: TaskInfo
    meta: DatasetMeta
    path: Path
    expert: ExpertChoice | None = None

    @property
    def parts(self) -> Path:
        return self.path.with_name(self.path.name + ".parts")

    def part(self, index: int) -> Path:
        return self.parts / f"demo_{index:06d}.hdf5"

    def seed(self, index: int, attempt: int) -> int:
        return derive_seed(self.meta.root_seed, "demo", index + attempt * MAX_DEMONSTRATIONS)

    def options(self, index: int) -> dict[str, Any]:
        return {"split": self.meta.placement, "episode": self.grid_index(index) if self._on_grid else index}

    def grid_index(self, index: int) -> int:
        return index % self.info.grid_size if self._on_grid else -1

    @property
    def _on_grid(self) -> bool:
        return self.meta.placement == "grid"

    def complete_meta(self, demonstration: Demonstration) -> DatasetMeta:
        state = demonstration.environment_state
        lengths = {
            "state_dim": demonstration.states.shape[1],
            "environment_state_dim": 0 if state is None else state.shape[1],
        }
        return self.meta.model_copy(update=lengths)

    def existing(self) -> Dataset | None:
        """The demonstrations already at `path`; DatasetError where they were made otherwise."""
        if not self.path.exists():
            return None
        found = files.read(self.path)
        if differences := _differences(found.meta, self.meta):
            advice = "choose another file, or collect again with --force"
            raise DatasetError(f"{self.path}: exists with other settings: {differences}; {advice}")
        return found

    def finished_part(self, index: int) -> Demonstration | None:
        """Demonstration `index` from an interrupted collection; None where it is missing, damaged or made otherwise."""
        if not self.part(index).exists():
            return None
        try:
            found = files.read(self.part(index))
        except DatasetError:
            return None
        made = replace(found.demonstrations[0], index=index)
        agrees = not _differences(found.meta, self.meta) and made.grid_index == self.grid_index(index)
        return made if agrees and self.failed_attempts(made) < MAX_ATTEMPTS else None

    def failed_attempts(self, demonstration: Demonstration) -> int:
        """How many attempts failed before this one, known from its seed; MAX_ATTEMPTS where it is none of ours."""
        seeds = [self.seed(demonstration.index, attempt) for attempt in range(MAX_ATTEMPTS)]
        return seeds.index(demonstration.seed) if demonstration.seed in seeds else MAX_ATTEMPTS


def _planned_meta(
    info: TaskInfo,
    root_seed: int,
    placement: Placement,
    image_size: tuple[int, int],
    render_profile: RenderProfile,
    expert: ExpertChoice | None,
) -> DatasetMeta:
    versions = {name: version(name) for name in ("mujoco", "robosuite")}
    values = {
        "task": info.name,
        "task_version": info.version,
        "env_id": info.env_id,
        "control_hz": info.control_hz,
        "image_size": image_size,
        "render_profile": render_profile,
        "cameras": info.cameras,
        "pose_names": info.pose_names,
        "action_dim": info.action_dim("ee_pose"),
        "agent_pos_dim": info.agent_pos_dim,
        "state_dim": 0,
        "placement": placement,
        "grid_size": info.grid_size,
        "root_seed": root_seed,
        "versions": versions if expert is None else {**versions, "expert": expert.label},
    }
    return DatasetMeta.parse(values, "demonstrations to collect")


def _differences(found: DatasetMeta, planned: DatasetMeta) -> str:
    """`key found (wanted planned)` for each setting in which they differ; empty where they agree."""
    ignored = {"state_dim", "environment_state_dim"}
    a, b = found.model_dump(exclude=ignored), planned.model_dump(exclude=ignored)
    return ", ".join(f"{key} {a[key]} (wanted {b[key]})" for key in a if a[key] != b[key])


def _collect_missing(
    plan: _Plan, n: int, existing: Sequence[Demonstration], workers: int, progress: Progress
) -> list[Demonstration]:
    """All `n` demonstrations: those existing, those in parts, and the rest collected now."""
    _make_folder(plan.parts)
    known = [*existing, *(plan.finished_part(i) for i in range(len(existing), n))]
    done = [d for d in known if d is not None]
    failed = sum(map(plan.failed_attempts, done))
    progress(len(done), n, {"failed": float(failed)})
    if len(done) == n:
        return done
    finished: dict[int, Demonstration] = {d.index: d for d in done}
    missing = sorted(set(range(n)) - finished.keys())
    for made in _made_by_workers(plan, missing, workers) if workers else _made_here(plan, missing):
        finished[made.index] = made
        failed += plan.failed_attempts(made)
        progress(len(finished), n, {"failed": float(failed)})
    return [finished[i] for i in range(n)]


def _made_here(plan: _Plan, missing: Sequence[int]) -> Iterator[Demonstration]:
    with closing(_Studio(plan)) as studio:
        for i in missing:
            yield _make_part(studio, plan, i)


def _make_part(studio: _Studio, plan: _Plan, index: int) -> Demonstration:
    """Demonstration `index`, collected and kept as a part."""
    made = _demonstrate(studio, plan, index)
    files.write(plan.part(index), [replace(made, index=0)], plan.complete_meta(made))
    return made


def _made_by_workers(plan: _Plan, missing: Sequence[int], workers: int) -> Iterator[Demonstration]:
    """As they are finished, in any order; each is read from its part, so that it is the same as after an interruption."""
    for index in worker_pool.finished(_make_part_in_worker, plan, missing, workers):
        made = plan.finished_part(index)
        if made is None:
            raise DatasetError(f"{plan.part(index)}: a worker wrote it, but it cannot be read")
        yield made


def _make_part_in_worker(plan: _Plan, index: int) -> None:
    """`_make_part` with the worker's one studio, which serves all that it collects and ends with it."""
    if plan.info.name not in _studios:
        _studios[plan.info.name] = _Studio(plan)
    _make_part(_studios[plan.info.name], plan, index)


_studios: dict[str, _Studio] = {}


def _make_folder(folder: Path) -> None:
    """So that an unwritable place is found before the first demonstration."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be made: {error.strerror or error}; choose another file") from error


def _demonstrate(studio: _Studio, plan: _Plan, index: int) -> Demonstration:
    for attempt in range(MAX_ATTEMPTS):
        made = studio.record(plan.seed(index, attempt), plan.options(index))
        if made is not None:
            return replace(made, index=index, grid_index=plan.grid_index(index))
    where = f"grid pose {plan.grid_index(index)}" if plan.grid_index(index) >= 0 else f"demonstration {index}"
    raise DatasetError(f"the expert of {plan.info.name} failed {MAX_ATTEMPTS} times in a row at {where}")


class _Studio:
    """The environment, the expert, and a second environment that tells what `obs_type="state"` shows in a state."""

    def __init__(self, plan: _Plan) -> None:
        self._info, info, meta = plan.info, plan.info, plan.meta
        self._expert = self._make_expert(plan.expert)
        looks = {"image_size": meta.image_size, "render_profile": meta.render_profile}
        self._env = _make(info, obs_type="pixels", control_mode="ee_pose", **looks)
        self._state_env = _make(info, obs_type="state", control_mode="ee_pose")

    def close(self) -> None:
        self._env.close()
        self._state_env.close()

    def _make_expert(self, choice: ExpertChoice | None) -> Expert:
        if choice is None:
            return registry.expert(self._info.name)
        return PolicyExpert(
            choice.make(self._info), lambda task: self._environment_state(task.sim_state(), task.initial_state())
        )

    def record(self, seed: int, options: dict[str, Any]) -> Demonstration | None:
        """One attempt; None where the expert fails or the simulation diverges."""
        try:
            frames = self._frames(seed, options)
        except SimulationDiverged:
            return None
        if frames is None:
            return None
        observations, states, actions = frames
        start = task_of(self._env).initial_state()
        return Demonstration(
            index=0,
            pixels={c: np.stack([o["pixels"][c] for o in observations]) for c in self._info.cameras},
            agent_pos=np.stack([o["agent_pos"] for o in observations]),
            actions=np.stack(actions).astype(np.float32),
            states=np.stack(states),
            initial_state=start,
            seed=seed,
            environment_state=np.stack([self._environment_state(state, start) for state in states]),
        )

    def _frames(
        self, seed: int, options: dict[str, Any]
    ) -> tuple[list[dict[str, Any]], list[Float64], list[Float32]] | None:
        """Observations, states and actions up to success; None at the horizon."""
        task = task_of(self._env)
        self._env.reset(seed=seed, options=options)
        self._expert.reset(task, seed)
        observations, states, actions = [], [], []
        while True:
            observations.append(task.observe())
            states.append(task.sim_state())
            actions.append(self._expert.act(task))
            _, terminated, truncated, _ = task.advance(actions[-1])
            if terminated:
                return observations, states, actions
            if truncated:
                return None

    def _environment_state(self, state: Float64, start: InitialState) -> Float32:
        there = replace(start, sim_state=state)
        observation, _ = self._state_env.reset(seed=0, options={"split": "replay", "initial_state": there})
        found: Float32 = observation["environment_state"]
        return found


def _make(info: TaskInfo, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Make the task's environment."""
    return gymnasium.make(info.env_id, **kwargs)
