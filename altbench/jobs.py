"""The pieces of work that a run hands to its workers: collect, fit, roll out, measure. Each runs whole in one process."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium

from altbench import registry, results
from altbench.api import Demonstration, FitContext, Policy, Requirements, TaskInfo, Trainable
from altbench.checkpoints import CheckpointCard, find_checkpoint, load_checkpoint, save_checkpoint
from altbench.config import SweepSpec
from altbench.errors import CheckpointError
from altbench.heartbeat import Heartbeat, TrainingClock
from altbench.plan import Cell, Checkpoint, Measurement
from altbench.records import Status
from altbench.rollout import EpisodePlan, check_fit, failed_episode, make_env, run_episode
from altbench.seeds import derive_seed
from altbench.store import RunFolder


@dataclass(frozen=True)
class Setting:
    """What every job of a run shares: its folder, its sweep, the resolved device and each task's data file."""

    root: Path
    sweep: SweepSpec
    device: str
    data: Mapping[str, Path]

    @property
    def folder(self) -> RunFolder:
        """The run's folder."""
        return RunFolder(self.root)


@dataclass(frozen=True)
class CollectJob:
    """Collect a task's demonstrations into the run's folder."""

    task: str

    name = property(lambda self: f"{self.task.lower()}/demonstrations")
    key = property(lambda self: f"collect-{self.task}")


@dataclass(frozen=True)
class FitJob:
    """Fit one checkpoint."""

    checkpoint: Checkpoint

    name = property(lambda self: f"{self.checkpoint.name}/fit")
    key = property(lambda self: f"fit-{self.checkpoint.key}")


@dataclass(frozen=True)
class Lost:
    """An episode that took its worker with it: recorded with `status`, not played again."""

    episode: int
    status: Status
    message: str


@dataclass(frozen=True)
class RolloutJob:
    """Roll out one cell, without the episodes that are `lost`."""

    cell: Cell
    lost: tuple[Lost, ...] = ()

    name = property(lambda self: self.cell.name)
    key = property(lambda self: self.cell.key)


@dataclass(frozen=True)
class MeasureJob:
    """Measure a checkpoint's latency and memory in a fresh process."""

    measurement: Measurement

    name = property(lambda self: f"{self.measurement.name}/measure")
    key = property(lambda self: f"measure-{self.measurement.key}")


Job = CollectJob | FitJob | RolloutJob | MeasureJob


def run_job(setting: Setting, job: Job) -> None:
    """Do `job`; its result lies in the run's folder afterwards."""
    heartbeat = Heartbeat(setting.folder, job.key)
    match job:
        case CollectJob():
            collect(setting, job, heartbeat)
        case FitJob():
            fit(setting, job.checkpoint, heartbeat)
        case RolloutJob():
            roll_out(setting, job, heartbeat)
        case MeasureJob():
            measure(setting, job.measurement)


def collect(setting: Setting, job: CollectJob, heartbeat: Heartbeat) -> None:
    """Collect the sweep's demonstrations of a task."""
    from altbench.collect import collect as collect_demonstrations

    entry, sweep = setting.sweep.demonstrations, setting.sweep
    collect_demonstrations(
        job.task,
        entry.n,
        setting.folder.demonstrations(job.task),
        root_seed=entry.seed,
        placement=entry.placement,
        image_size=sweep.image_size,
        render_profile=sweep.render_profile,
        progress=heartbeat,
    )


def fit(setting: Setting, checkpoint: Checkpoint, heartbeat: Heartbeat) -> None:
    """Fit a checkpoint, going on from where a killed run left it."""
    set_threads(setting.sweep.train_threads)
    folder = setting.folder.checkpoints / checkpoint.folder
    training = folder.with_name(folder.name + ".training")
    training.mkdir(parents=True, exist_ok=True)
    policy = _build(checkpoint, checkpoint.config)
    assert isinstance(policy, Trainable)
    demonstrations = training_set(setting, checkpoint)
    seed = derive_seed(setting.sweep.seed, "train", checkpoint.train_seed)
    clock = TrainingClock(training / "seconds.txt", heartbeat)
    policy.fit(demonstrations, FitContext(seed, setting.device, training, clock))
    save_checkpoint(folder, _card(setting, checkpoint, policy, clock), policy, training / "logs")
    shutil.rmtree(training)


def roll_out(setting: Setting, job: RolloutJob, heartbeat: Heartbeat) -> None:
    """Play a cell's episodes and write its record; of a record with infra_errors, only those are played again."""
    set_threads(setting.sweep.rollout_threads)
    cell = job.cell
    policy = _ready_policy(setting, cell)
    kept = results.outcomes(setting.root, cell.key)
    records = []
    for plan in episode_plans(setting, cell):
        lost = next((one for one in job.lost if one.episode == plan.index), None)
        if plan.index in kept:
            records.append(kept[plan.index])
        elif lost is not None:
            records.append(failed_episode(plan, lost.status, lost.message))
        else:
            alive = functools.partial(heartbeat, plan.index, cell.episodes, {})
            records.append(_play(setting, cell, policy, plan, alive))
    results.write_cell(setting.root, cell_header(cell), records)


def _play(
    setting: Setting, cell: Cell, policy: Policy, plan: EpisodePlan, alive: Callable[[], None]
) -> results.EpisodeRecord:
    """One episode; where the infrastructure failed, once more in a new environment."""
    timeout = setting.sweep.decision_timeout_s
    task = cell.checkpoint.task
    record = run_episode(_environment(task, policy.requirements, setting.sweep), policy, plan, timeout, alive)
    if record.status != "infra_error":
        return record
    _close_environments()
    return run_episode(_environment(task, policy.requirements, setting.sweep), policy, plan, timeout, alive)


def measure(setting: Setting, measurement: Measurement) -> None:
    """Time decisions and read memory in a process of their own."""
    from altbench.measure import measure_checkpoint

    folder = _fitted(setting, measurement.checkpoint)
    entry, runtime = setting.sweep.measure, measurement.runtime
    record = measure_checkpoint(folder, measurement.label, entry, setting.device, runtime)
    results.write_measure(setting.root, measurement.key, record)


def episode_plans(setting: Setting, cell: Cell) -> list[EpisodePlan]:
    """The cell's episodes. Seeds depend on the sweep and the episode alone, so all policies see the same ones."""
    root = setting.sweep.seed
    column, entry = cell.column, cell.column.perturbation
    starts = training_set(setting, cell.checkpoint) if column.split in ("replay", "recall") else ()
    perturbation = None
    if not column.clean:
        perturbation = registry.perturbation(entry.name)(column.severity, **entry.options)
    event = column.event.model_dump() if column.event else {}
    plans = []
    for index in range(cell.episodes):
        options: dict[str, Any] = {"split": column.split, "episode": index, **event}
        if starts:
            options["initial_state"] = starts[index % len(starts)].initial_state
        plans.append(
            EpisodePlan(
                index,
                derive_seed(root, "evaluate", index),
                derive_seed(root, "policy", index),
                options,
                perturbation,
                derive_seed(root, "perturb", index),
                entry.cameras,
                entry.from_step,
            )
        )
    return plans


def training_set(setting: Setting, checkpoint: Checkpoint) -> tuple[Demonstration, ...]:
    """The nested subset of N demonstrations that the checkpoint is fitted to."""
    from altbench.dataset import subset

    task = registry.task(checkpoint.task)
    everything = _demonstrations(setting.data[checkpoint.task])
    return subset(everything, checkpoint.n, task.grid_size, setting.sweep.seed)


def cell_header(cell: Cell) -> results.CellHeader:
    """What a cell's record says of itself."""
    point = cell.checkpoint
    return results.CellHeader(
        key=cell.key,
        name=cell.name,
        task=point.task,
        label=cell.label,
        policy=point.policy,
        preset=cell.preset,
        n=point.n,
        train_seed=point.train_seed,
        split=cell.split,
        perturbation=cell.condition,
        severity=cell.severity,
        checkpoint_key=point.key,
        spec_json=cell.specification,
    )


def _build(checkpoint: Checkpoint, config: Mapping[str, Any]) -> Policy:
    cls = registry.policy(checkpoint.policy)
    return cls(registry.task(checkpoint.task), cls.config_type.parse(config, checkpoint.name))


def _ready_policy(setting: Setting, cell: Cell) -> Policy:
    if not cell.checkpoint.trainable:
        return _build(cell.checkpoint, cell.config)
    policy = load_checkpoint(_fitted(setting, cell.checkpoint), setting.device, cell.runtime)
    check_fit(policy.requirements, policy.task, setting.sweep.image_size, cell.name)
    return policy


def _fitted(setting: Setting, checkpoint: Checkpoint) -> Path:
    """Where a checkpoint that was fitted before lies; CheckpointError where it is gone."""
    found = find_checkpoint(setting.folder.checkpoints, checkpoint.folder)
    if found is None:
        raise CheckpointError(f"{setting.folder.checkpoints}: {checkpoint.name} is not there (any more)")
    return found


def _card(setting: Setting, checkpoint: Checkpoint, policy: Policy, clock: TrainingClock) -> CheckpointCard:
    return CheckpointCard(
        task=checkpoint.task,
        policy=checkpoint.policy,
        preset=checkpoint.preset,
        config=checkpoint.config,
        n=checkpoint.n,
        train_seed=checkpoint.train_seed,
        key=checkpoint.key,
        data_checksum=checkpoint.data_checksum,
        policy_version=policy.version,
        image_size=setting.sweep.image_size,
        train_seconds=clock.seconds(),
        data_share=clock.data_share,
    )


def _demonstrations(path: Path) -> tuple[Demonstration, ...]:
    """Read a demonstrations file; read it again only if it has changed, since another sweep may extend it in place."""
    found = path.stat()
    return _read_version(path, found.st_mtime_ns, found.st_size)


@functools.lru_cache(maxsize=2)
def _read_version(path: Path, modified_ns: int, size: int) -> tuple[Demonstration, ...]:
    from altbench.dataset import read

    del modified_ns, size  # parts of the cache's key
    return read(path).demonstrations


_ENVIRONMENTS: dict[tuple[Any, ...], gymnasium.Env[Any, Any]] = {}


def _environment(task_name: str, needs: Requirements, sweep: SweepSpec) -> gymnasium.Env[Any, Any]:
    """One environment per worker and kind, since building one costs as much as an episode."""
    task: TaskInfo = registry.task(task_name)
    kind = (task_name, bool(needs.cameras), needs.control_mode, sweep.image_size, sweep.render_profile)
    if kind not in _ENVIRONMENTS:
        _ENVIRONMENTS[kind] = make_env(task, needs, sweep.image_size, sweep.render_profile)
    return _ENVIRONMENTS[kind]


def _close_environments() -> None:
    for env in _ENVIRONMENTS.values():
        env.close()
    _ENVIRONMENTS.clear()


def set_threads(threads: int) -> None:
    """Fix what the same computation may otherwise round differently from run to run."""
    import torch

    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True
