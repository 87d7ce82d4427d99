"""The pieces of work that a run hands to its workers: collect, fit, roll out, measure. Each runs whole in one process."""

from __future__ import annotations

import functools
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium

from altbench import registry, results
from altbench.api import Demonstration, FitContext, Policy, Progress, Requirements, TaskInfo, Trainable
from altbench.checkpoints import CheckpointCard, load_checkpoint, save_checkpoint
from altbench.config import CLEAN, MeasureEntry, SweepSpec
from altbench.plan import Cell, Checkpoint
from altbench.rollout import EpisodePlan, failed_episode, make_env, run_episode
from altbench.seeds import derive_seed
from altbench.store import RunFolder, write_text


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
class RolloutJob:
    """Roll out one cell; `hung` lists episodes that hung a worker before: they are recorded, not played again."""

    cell: Cell
    hung: tuple[int, ...] = ()

    name = property(lambda self: self.cell.name)
    key = property(lambda self: self.cell.key)


@dataclass(frozen=True)
class MeasureJob:
    """Measure one checkpoint's latency and memory in a fresh process."""

    checkpoint: Checkpoint
    entry: MeasureEntry

    name = property(lambda self: f"{self.checkpoint.name}/measure")
    key = property(lambda self: f"measure-{self.checkpoint.key}")


Job = CollectJob | FitJob | RolloutJob | MeasureJob


class Heartbeat:
    """Tells the runner, through a small file, how far a job is; also how it notices a worker that hangs."""

    def __init__(self, folder: RunFolder, job: Job) -> None:
        self.path = folder.progress / f"{job.key}.json"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._last = 0.0
        self(0, 0, {})

    def __call__(self, done: int, total: int, metrics: Mapping[str, float]) -> None:
        """Report `done` of `total`, at most four times a second (the last step always)."""
        now = time.time()
        if now - self._last >= 0.25 or done == total:
            self._last = now
            report = {"done": done, "total": total, "metrics": dict(metrics), "time": now}
            temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
            temporary.write_text(json.dumps(report))
            temporary.replace(self.path)  # no fsync: it need not survive a crash


class TrainingClock:
    """Adds up the seconds of a fit over all its resumed pieces, and passes its progress on."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self.path, self.progress = path, progress
        self.earlier = float(path.read_text()) if path.exists() else 0.0
        self.began = time.perf_counter()

    def seconds(self) -> float:
        """Seconds of fitting so far."""
        return self.earlier + time.perf_counter() - self.began

    def __call__(self, done: int, total: int, metrics: Mapping[str, float]) -> None:
        write_text(self.path, f"{self.seconds():.3f}")
        self.progress(done, total, metrics)


def read_heartbeat(folder: RunFolder, job: Job) -> dict[str, Any]:
    """The job's latest report, empty before its first."""
    try:
        found: dict[str, Any] = json.loads((folder.progress / f"{job.key}.json").read_text())
        return found
    except (OSError, ValueError):
        return {}


def run_job(setting: Setting, job: Job) -> None:
    """Do `job`; its result lies in the run's folder afterwards."""
    heartbeat = Heartbeat(setting.folder, job)
    match job:
        case CollectJob():
            collect(setting, job, heartbeat)
        case FitJob():
            fit(setting, job.checkpoint, heartbeat)
        case RolloutJob():
            roll_out(setting, job, heartbeat)
        case MeasureJob():
            measure(setting, job)


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
    _set_threads(setting.sweep.train_threads)
    folder = setting.folder.checkpoints / checkpoint.folder
    training = folder.with_name(folder.name + ".training")
    training.mkdir(parents=True, exist_ok=True)
    policy = _build(checkpoint)
    assert isinstance(policy, Trainable)
    demonstrations = training_set(setting, checkpoint)
    seed = derive_seed(setting.sweep.seed, "train", checkpoint.train_seed)
    clock = TrainingClock(training / "seconds.txt", heartbeat)
    policy.fit(demonstrations, FitContext(seed, setting.device, training, clock))
    save_checkpoint(folder, _card(setting, checkpoint, policy, clock.seconds()), policy, training / "logs")
    shutil.rmtree(training)


def roll_out(setting: Setting, job: RolloutJob, heartbeat: Heartbeat) -> None:
    """Play a cell's episodes and write its record."""
    _set_threads(setting.sweep.rollout_threads)
    cell = job.cell
    policy = _ready_policy(setting, cell)
    env = _environment(cell.checkpoint.task, policy.requirements, setting.sweep)
    records = []
    for plan in episode_plans(setting, cell):
        if plan.index in job.hung:
            records.append(failed_episode(plan, "policy_timeout", "the worker hung and was replaced"))
            continue
        alive = functools.partial(heartbeat, plan.index, cell.episodes, {})
        records.append(run_episode(env, policy, plan, setting.sweep.decision_timeout_s, alive))
    results.write_cell(setting.root, cell_header(cell), records)


def measure(setting: Setting, job: MeasureJob) -> None:
    """Time decisions and read memory in a process of their own."""
    from altbench.measure import measure_checkpoint

    checkpoint = job.checkpoint
    folder = setting.folder.checkpoints / checkpoint.folder
    record = measure_checkpoint(folder, checkpoint.label, job.entry, setting.device)
    results.write_measure(setting.root, checkpoint.key, record)


def episode_plans(setting: Setting, cell: Cell) -> list[EpisodePlan]:
    """The cell's episodes. Seeds depend on the sweep and the episode alone, so all policies see the same ones."""
    root = setting.sweep.seed
    starts = training_set(setting, cell.checkpoint) if cell.split in ("replay", "recall") else ()
    perturbation = None
    if cell.perturbation != CLEAN:
        perturbation = registry.perturbation(cell.perturbation)(cell.severity, **cell.options)
    plans = []
    for index in range(cell.episodes):
        options: dict[str, Any] = {"split": cell.split, "episode": index}
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
                cell.cameras,
                cell.from_step,
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
    specification: dict[str, Any] = {
        "config": dict(cell.config),
        "options": dict(cell.options),
        "episodes": cell.episodes,
    }
    if cell.cameras or cell.from_step:
        specification |= {"cameras": cell.cameras, "from_step": cell.from_step}
    return results.CellHeader(
        key=cell.key,
        name=cell.name,
        task=point.task,
        label=cell.label,
        policy=point.policy,
        preset=point.preset,
        n=point.n,
        train_seed=point.train_seed,
        split=cell.split,
        perturbation=cell.condition,
        severity=cell.severity,
        checkpoint_key=point.key,
        spec_json=json.dumps(specification, sort_keys=True),
    )


def _build(checkpoint: Checkpoint) -> Policy:
    cls = registry.policy(checkpoint.policy)
    return cls(registry.task(checkpoint.task), cls.config_type.parse(checkpoint.config, checkpoint.name))


def _ready_policy(setting: Setting, cell: Cell) -> Policy:
    if not cell.checkpoint.trainable:
        return _build(cell.checkpoint)
    cls = registry.policy(cell.checkpoint.policy)
    runtime = {k: v for k, v in cell.config.items() if k in cls.runtime_fields and v is not None}
    return load_checkpoint(setting.folder.checkpoints / cell.checkpoint.folder, setting.device, runtime)


def _card(setting: Setting, checkpoint: Checkpoint, policy: Policy, seconds: float) -> CheckpointCard:
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
        train_seconds=seconds,
    )


@functools.lru_cache(maxsize=2)
def _demonstrations(path: Path) -> tuple[Demonstration, ...]:
    from altbench.dataset import read

    return read(path).demonstrations


_ENVIRONMENTS: dict[tuple[Any, ...], gymnasium.Env[Any, Any]] = {}


def _environment(task_name: str, needs: Requirements, sweep: SweepSpec) -> gymnasium.Env[Any, Any]:
    """One environment per worker and kind, since building one costs as much as an episode."""
    task: TaskInfo = registry.task(task_name)
    kind = (task_name, bool(needs.cameras), needs.control_mode, sweep.image_size, sweep.render_profile)
    if kind not in _ENVIRONMENTS:
        _ENVIRONMENTS[kind] = make_env(task, needs, sweep.image_size, sweep.render_profile)
    return _ENVIRONMENTS[kind]


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
