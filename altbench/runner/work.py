"""The work itself: collect, fit, roll out, measure. Each job runs whole in one process."""

from __future__ import annotations

import functools
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from altbench.core import registry
from altbench.core.errors import ContractError
from altbench.core.policy import FitContext, Policy, Requirements, Trainable, check_fit
from altbench.core.seeds import derive_seed
from altbench.results import cells, measures
from altbench.results.checkpoints import CheckpointCard, build_policy, save_checkpoint
from altbench.results.run import Run, check_unchanged
from altbench.results.takeover import taken_over
from altbench.rollout import records as records_module
from altbench.rollout.episode import CastWarning, EpisodePlan, failed_episode, run_episode, state_length
from altbench.runner import contract
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
        progress=heartbeat,
        watch=AttemptFilms(films_folder(path), task, registry.task(task).control_hz),
    )


def check(run: Run, cell: Cell, worker: Worker, heartbeat: Heartbeat) -> None:
    """Check the policy of a cell, which learns nothing, before it plays."""
    set_threads(run.sweep.rollout_threads)
    contract.check_ready(run, cell, worker, functools.partial(heartbeat, 0, 1, {}))


def fit(run: Run, checkpoint: Checkpoint, worker: Worker, heartbeat: Heartbeat) -> None:
    """Fit a checkpoint, from where a killed run left it.

    A policy that breaks its contract is not kept; ContractError then.
    """
    set_threads(run.sweep.train_threads)
    folder = run.folder.checkpoints / checkpoint.folder
    training = folder.with_name(folder.name + ".training")
    training.mkdir(parents=True, exist_ok=True)
    policy = build_policy(checkpoint.task, checkpoint.policy, checkpoint.config, checkpoint.name)
    if not isinstance(policy, Trainable):
        raise ContractError(f"{checkpoint.name}: expected a Trainable policy to fit, got {checkpoint.policy!r}")
    check_unchanged(checkpoint, policy)
    demonstrations = run.demonstrations(checkpoint)
    seed = derive_seed(run.sweep.seed, "train", checkpoint.train_seed)
    clock = TrainingClock(training / "seconds.txt", heartbeat)
    policy.fit(demonstrations, FitContext(seed, run.device, training, clock))
    save_checkpoint(folder, _card(run, checkpoint, policy, clock), policy, training / "logs")
    if not contract.is_own(checkpoint):
        try:
            contract.check_fitted(run, checkpoint, demonstrations, worker, functools.partial(heartbeat, 0, 1, {}))
        except ContractError:
            shutil.rmtree(folder)
            raise
    shutil.rmtree(training)


def roll_out(
    run: Run, cell: Cell, lost: Sequence[Lost], worker: Worker, heartbeat: Heartbeat, older: Sequence[str] = ()
) -> None:
    """Play a cell's episodes and write its record.

    If a record exists already, only its infra_errors are played again. The episodes
    `lost` are recorded as lost. Those that the cells `older` hold are taken over.
    """
    set_threads(run.sweep.rollout_threads)
    policy = _ready_policy(run, cell)
    kept = {**taken_over(run.root, older, cell.episodes), **cells.outcomes(run.root, cell.key)}
    records = []
    for plan in episode_plans(run, cell):
        given_up = next((one for one in lost if one.episode == plan.index), None)
        if plan.index in kept:
            records.append(kept[plan.index])
        elif given_up is not None:
            records.append(failed_episode(plan, given_up.status, given_up.message))
        else:
            alive = functools.partial(heartbeat, plan.index, cell.episodes, {})
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CastWarning)  # the check of the contract says it once
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


def measure(run: Run, measurement: Measurement, worker: Worker) -> None:
    """Time decisions and read memory in a process of their own."""
    from altbench.measure.probe import measure_checkpoint, measure_ready

    point, how = measurement.checkpoint, measurement.how
    state_dim = 0
    if measurement.needs_state:
        state_dim = state_length(worker.environment(point.task, Requirements((), needs_state=True), run.sweep))
    rest = (measurement.label, how, run.device, measurement.runtime, state_dim, run.sweep.decision_timeout_s)
    if point.trainable:
        record = measure_checkpoint(run.fitted(point), *rest)
    else:
        record = measure_ready(_card(run, point, registry.policy(point.policy)), *rest)
    measures.write_measure(run.root, measurement.key, record)


def _ready_policy(run: Run, cell: Cell) -> Policy:
    policy = run.policy(cell.checkpoint, cell.runtime)
    if cell.checkpoint.trainable:
        check_fit(policy.requirements, policy.task, run.sweep.image_size, cell.name)
    return policy


def _card(
    run: Run, checkpoint: Checkpoint, policy: Policy | type[Policy], clock: TrainingClock | None = None
) -> CheckpointCard:
    """Return the card of a checkpoint; `clock` None: of a policy that learns nothing."""
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
        train_seconds=clock.seconds() if clock else 0.0,
        data_share=clock.data_share if clock else None,
        trained_on=machine(run.device) if clock else "",
    )
