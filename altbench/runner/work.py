"""The work itself: collect, fit, roll out, measure. Each job runs whole in one process."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from altbench.core import registry
from altbench.core.errors import ContractError
from altbench.core.policy import FitContext, Policy, Trainable, check_fit
from altbench.core.seeds import derive_seed
from altbench.results import cells, measures
from altbench.results.checkpoints import CheckpointCard, make_policy, save_checkpoint
from altbench.results.run import Run
from altbench.rollout import records as records_module
from altbench.rollout.episode import EpisodePlan, failed_episode, run_episode
from altbench.runner.episodes import cell_header, episode_plans
from altbench.runner.heartbeat import Heartbeat, TrainingClock
from altbench.runner.worker import Worker
from altbench.sweeps.plan import Cell, Checkpoint, Measurement
from altbench.system.devices import set_threads
from altbench.system.fingerprint import machine


@dataclass(frozen=True)
class Lost:
    """An episode that ended its worker: recorded with `status`, not played again."""

    episode: int
    status: records_module.Status
    message: str


def collect(run: Run, task: str, heartbeat: Heartbeat) -> None:
    """Collect the sweep's demonstrations of a task."""
    from altbench.dataset.collecting import collect as collect_demonstrations
    from altbench.report.attempt_films import AttemptFilms, films_folder

    entry, sweep = run.sweep.demonstrations, run.sweep
    path = run.folder.demonstrations(task)
    collect_demonstrations(
        task,
        entry.n,
        path,
        root_seed=entry.seed,
        placement=entry.placement,
        image_size=sweep.image_size,
        render_profile=sweep.render_profile,
        control_mode=entry.control_mode,
        progress=heartbeat,
        watch=AttemptFilms(films_folder(path), task, registry.task(task).control_hz),
    )


def fit(run: Run, checkpoint: Checkpoint, heartbeat: Heartbeat) -> None:
    """Fit a checkpoint, from where a killed run left it."""
    from altbench.dataset.control_modes import in_control_mode

    set_threads(run.sweep.train_threads)
    folder = run.folder.checkpoints / checkpoint.folder
    training = folder.with_name(folder.name + ".training")
    training.mkdir(parents=True, exist_ok=True)
    policy = make_policy(checkpoint.task, checkpoint.policy, checkpoint.config, checkpoint.name)
    if not isinstance(policy, Trainable):
        raise ContractError(f"{checkpoint.name}: expected a Trainable policy to fit, got {checkpoint.policy!r}")
    shown = run.demonstrations(checkpoint)
    demonstrations = in_control_mode(shown, checkpoint.task, policy.requirements.control_mode)
    seed = derive_seed(run.sweep.seed, "train", checkpoint.train_seed)
    clock = TrainingClock(training / "seconds.txt", heartbeat)
    policy.fit(demonstrations, FitContext(seed, run.device, training, clock))
    save_checkpoint(folder, _card(run, checkpoint, policy, clock), policy, training / "logs")
    shutil.rmtree(training)


def roll_out(run: Run, cell: Cell, lost: Sequence[Lost], worker: Worker, heartbeat: Heartbeat) -> None:
    """Play a cell's episodes and write its record.

    If a record exists already, only its infra_errors are played again. The episodes
    `lost` are recorded as lost.
    """
    set_threads(run.sweep.rollout_threads)
    policy = _ready_policy(run, cell)
    kept = cells.outcomes(run.root, cell.key)
    records = []
    for plan in episode_plans(run, cell):
        given_up = next((one for one in lost if one.episode == plan.index), None)
        if plan.index in kept:
            records.append(kept[plan.index])
        elif given_up is not None:
            records.append(failed_episode(plan, given_up.status, given_up.message))
        else:
            alive = functools.partial(heartbeat, plan.index, cell.episodes, {})
            records.append(_play(run, cell, policy, plan, alive, worker))
    cells.write_cell(run.root, cell_header(cell), records)


def _play(
    run: Run, cell: Cell, policy: Policy, plan: EpisodePlan, alive: Callable[[], None], worker: Worker
) -> records_module.EpisodeRecord:
    """Play one episode.

    If the infrastructure fails, play it once more in a new environment.
    """
    timeout, task = run.sweep.decision_timeout_s, cell.checkpoint.task
    env = worker.environment(task, policy.requirements, run.sweep)
    record = run_episode(env, policy, plan, timeout, alive)
    if record.status != "infra_error":
        return record
    worker.close()
    env = worker.environment(task, policy.requirements, run.sweep)
    return run_episode(env, policy, plan, timeout, alive)


def measure(run: Run, measurement: Measurement) -> None:
    """Time decisions and read memory in a process of their own."""
    from altbench.measure.probe import measure_checkpoint

    folder = run.fitted(measurement.checkpoint)
    entry, runtime = measurement.how, measurement.runtime
    record = measure_checkpoint(folder, measurement.label, entry, run.device, runtime)
    measures.write_measure(run.root, measurement.key, record)


def _ready_policy(run: Run, cell: Cell) -> Policy:
    policy = run.policy(cell.checkpoint, cell.runtime)
    if cell.checkpoint.trainable:
        check_fit(policy.requirements, policy.task, run.sweep.image_size, cell.name)
    return policy


def _card(run: Run, checkpoint: Checkpoint, policy: Policy, clock: TrainingClock) -> CheckpointCard:
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
        image_size=run.sweep.image_size,
        train_seconds=clock.seconds(),
        data_share=clock.data_share,
        trained_on=machine(run.device),
    )
