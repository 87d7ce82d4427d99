"""The work itself: collect, fit, roll out, measure. Each job runs whole in one process."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium

from altbench.core import registry
from altbench.core.errors import CheckpointError
from altbench.core.policy import FitContext, Policy, Requirements, Trainable, check_fit
from altbench.core.seeds import derive_seed
from altbench.core.task import TaskInfo
from altbench.results import cells, measures
from altbench.results.checkpoints import CheckpointCard, find_checkpoint, load_checkpoint, save_checkpoint
from altbench.rollout import records as records_module
from altbench.rollout.episode import EpisodePlan, failed_episode, make_env, run_episode
from altbench.runner.context import Setting, set_threads, training_demonstrations
from altbench.runner.episodes import cell_header, episode_plans
from altbench.runner.heartbeat import Heartbeat, TrainingClock
from altbench.runner.jobs import CollectJob, FitJob, Job, MeasureJob, RolloutJob
from altbench.sweeps.plan import Cell, Checkpoint, Measurement
from altbench.sweeps.spec import SweepSpec
from altbench.system.fingerprint import machine


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
    from altbench.dataset.collecting import collect as collect_demonstrations

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
    demonstrations = training_demonstrations(setting, checkpoint)
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
    kept = cells.outcomes(setting.root, cell.key)
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
    cells.write_cell(setting.root, cell_header(cell), records)


def _play(
    setting: Setting, cell: Cell, policy: Policy, plan: EpisodePlan, alive: Callable[[], None]
) -> records_module.EpisodeRecord:
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
    from altbench.measure.probe import measure_checkpoint

    folder = _fitted(setting, measurement.checkpoint)
    entry, runtime = setting.sweep.measure, measurement.runtime
    record = measure_checkpoint(folder, measurement.label, entry, setting.device, runtime)
    measures.write_measure(setting.root, measurement.key, record)


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
        trained_on=machine(setting.device),
    )


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
