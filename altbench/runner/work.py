"""The work itself: collect, fit, roll out, measure. Each job runs whole in one process."""

from __future__ import annotations

import functools
import shutil
import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from altbench.core import registry
from altbench.core.errors import ContractError
from altbench.core.policy import FitContext, Policy, Requirements, Trainable, check_fit
from altbench.core.seeds import derive_seed
from altbench.results import cells, measures
from altbench.results.checkpoints import CheckpointCard, build_policy, save_checkpoint
from altbench.results.run import Run, check_unchanged
from altbench.results.takeover import taken_over
from altbench.rollout.episode import CastWarning, failed_episode, run_episode, state_length
from altbench.rollout.plan import EpisodePlan
from altbench.rollout.records import MISSING, EpisodeRecord, Status
from altbench.runner import contract
from altbench.runner.episode_watch import EpisodeWatch, notes_of
from altbench.runner.episodes import cell_header, episode_plans, plan_episode
from altbench.runner.giving_up import Series
from altbench.runner.heartbeat import Heartbeat, TrainingClock
from altbench.runner.played import Played
from altbench.runner.worker import Worker
from altbench.sweeps.plan import Cell, Checkpoint, Measurement
from altbench.system.devices import set_threads
from altbench.system.fingerprint import machine
from altbench.system.lease import Proof

TRIES = 3
"""How often an episode is tried whose worker dies, or whose policy runs out of memory."""


@dataclass(frozen=True)
class Lost:
    """An episode that ended its worker: recorded with `status`, not played again."""

    episode: int
    status: Status
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


def check(run: Run, cell: Cell, worker: Worker, heartbeat: Heartbeat) -> None:
    """Check the policy of a cell, which learns nothing, before it plays."""
    set_threads(run.sweep.rollout_threads)
    contract.check_ready(run, cell, worker, functools.partial(heartbeat.pulse, 0, "decision"))


def fit(run: Run, checkpoint: Checkpoint, worker: Worker, heartbeat: Heartbeat, proof: Proof | None = None) -> None:
    """Fit a checkpoint, from where a killed run left it, and check what it decides.

    A policy that breaks its contract is not kept; ContractError then. `proof`: as
    `roll_out`.
    """
    from altbench.dataset.control_modes import in_control_mode

    set_threads(run.sweep.train_threads)
    folder = run.folder.checkpoints / checkpoint.folder
    training = folder.with_name(folder.name + ".training")
    checking = training / "checking"
    if checking.exists():
        # A worker died or hung in the check of the fitted policy. Its episodes record that.
        contract.pass_over(run, checkpoint)
        shutil.rmtree(training)
        return
    training.mkdir(parents=True, exist_ok=True)
    policy = build_policy(checkpoint.task, checkpoint.policy, checkpoint.config, checkpoint.name)
    if not isinstance(policy, Trainable):
        raise ContractError(f"{checkpoint.name}: expected a Trainable policy to fit, got {checkpoint.policy!r}")
    check_unchanged(checkpoint, policy)
    shown = run.demonstrations(checkpoint)
    demonstrations = in_control_mode(shown, checkpoint.task, policy.requirements.control_mode)
    if not run.is_fitted(checkpoint):  # else a run was stopped before the check
        seed = derive_seed(run.sweep.seed, "train", checkpoint.train_seed)
        clock = TrainingClock(training / "seconds.txt", heartbeat)
        policy.fit(demonstrations, FitContext(seed, run.device, training, clock))
        if proof is not None:
            proof.check()
        card = _card(run, checkpoint, policy, clock)
        trained = training_of(policy, checkpoint.config, clock, sum(map(len, demonstrations)))
        save_checkpoint(folder, card.model_copy(update=trained), policy, training / "logs")
    if not contract.is_own(checkpoint):
        checking.touch()
        asks = functools.partial(heartbeat.pulse, 0, "decision")
        try:
            contract.check_fitted(run, checkpoint, demonstrations, worker, asks)
        except ContractError:
            shutil.rmtree(run.fitted(checkpoint))
            checking.unlink()
            raise
    shutil.rmtree(training)


def training_of(
    policy: Trainable, config: Mapping[str, Any], clock: TrainingClock, frames: int
) -> dict[str, float | bool]:
    """Return how long a policy trained on `frames`, and whether that is enough by its rule.

    Empty for a policy without a rule, or one that reported no steps.
    """
    batch = config.get("batch_size")
    if not policy.least_epochs or not isinstance(batch, int) or not clock.total or not frames:
        return {}
    epochs = clock.steps * min(batch, frames) / frames
    return {"epochs": epochs, "converged": epochs >= policy.least_epochs or clock.steps < clock.total}


def roll_out(
    run: Run,
    cell: Cell,
    lost: Sequence[Lost],
    worker: Worker,
    heartbeat: Heartbeat,
    older: Sequence[str] = (),
    proof: Proof | None = None,
) -> None:
    """Play a cell's episodes and write its record.

    Episodes that are final in an earlier record, or that a worker of this run has
    played before it died, are kept. Those that the cells `older` hold are taken over.
    The episodes `lost` are recorded as lost. After `give_up_after` failures of the
    policy in a row the rest is recorded as given up. `proof`: of the claim on the cell;
    AltbenchError once that is another worker's.
    """
    set_threads(run.sweep.rollout_threads)
    played = Played(run.folder, cell_header(cell), proof)
    known = {**taken_over(run.root, older, cell.episodes), **_known(run, cell, lost, played)}
    with closing(_ready_policy(run, cell)) as policy:
        records = _play_all(run, cell, policy, known, played, worker, heartbeat)
    played.write(records)


def _play_all(
    run: Run,
    cell: Cell,
    policy: Policy,
    known: Mapping[int, EpisodeRecord],
    played: Played,
    worker: Worker,
    heartbeat: Heartbeat,
) -> list[EpisodeRecord]:
    """Return the records of a cell's episodes; those that are not `known` are played."""
    series, records = Series(run.sweep.give_up_after), []
    for plan in episode_plans(run, cell):
        if series.is_over:
            record = failed_episode(plan, "given_up", series.reason)
        elif plan.index in known:
            record = known[plan.index]
        else:
            heartbeat(plan.index, cell.episodes, {})
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CastWarning)  # the check of the contract says it once
                record = _play(run, cell, policy, plan, worker, heartbeat)
            played.keep(record)
        series.add(record)
        records.append(record)
    return records


def record_unplayed(run: Run, cell: Cell, lost: Sequence[Lost], reason: str, proof: Proof | None = None) -> None:
    """Write the record of a cell that could not be played: what is missing is counted.

    The next run tries those episodes again. `proof`: as `roll_out`.
    """
    played = Played(run.folder, cell_header(cell), proof)
    known = _known(run, cell, lost, played)
    plans = (_bare_plan(run, index) for index in range(cell.episodes))
    played.write([known.get(plan.index) or failed_episode(plan, MISSING, reason) for plan in plans])


def _known(run: Run, cell: Cell, lost: Sequence[Lost], played: Played) -> dict[int, EpisodeRecord]:
    """Return the episodes of a cell that need not be played, by number."""
    found = {**cells.outcomes(run.root, cell.key), **played.outcomes()}
    for one in lost:
        found[one.episode] = failed_episode(_bare_plan(run, one.episode), one.status, one.message)
    # Whether a cell is given up is decided anew, since an infra_error may have been in the series.
    return {index: record for index, record in found.items() if record.status != "given_up"}


def _bare_plan(run: Run, index: int) -> EpisodePlan:
    """Return as much of an episode's plan as the record of one that is not played holds."""
    return plan_episode(run.sweep.seed, index, "", ())


def _play(
    run: Run, cell: Cell, policy: Policy, plan: EpisodePlan, worker: Worker, heartbeat: Heartbeat
) -> EpisodeRecord:
    """Play one episode.

    If the infrastructure fails, play it once more in a new environment. If memory is
    lacking whenever the policy is asked, three times, this is the policy's failure.
    """
    notes = notes_of(run.folder, cell.name, cell.key)
    for attempt in range(1, TRIES + 1):
        watch = EpisodeWatch(heartbeat, notes, plan.index, worker.raises)
        env = worker.environment(cell.checkpoint.task, policy.requirements, run.sweep)
        sweep = run.sweep
        record = run_episode(env, policy, plan, sweep.decision_timeout_s, watch, sweep.episode_timeout_s)
        if record.status != MISSING or (attempt > 1 and not watch.policy_failed):
            return record
        worker.close()
    return replace(record, status="policy_crash", message=f"{record.message}, {TRIES} times while it was asked")


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
        adapter=checkpoint.adapter or {},
    )
