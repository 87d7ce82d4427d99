"""A sweep as a plan: which checkpoints to fit and which cells to roll out, each with a readable name and a key.

A key is the SHA-256 of the canonical specification of what it names, so that equal keys mean equal numbers and a finished
cell is never run again. Planning starts no simulator and no training.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from altbench import registry
from altbench.api import Policy, TaskInfo, Trainable
from altbench.config import CLEAN, EvaluationEntry, PerturbationEntry, PolicyEntry, SweepSpec
from altbench.errors import ConfigError, suggestion
from altbench.perturb import check_reach
from altbench.rollout import PROTOCOL_VERSION, check_fit

KEY_PACKAGES = ("robosuite", "mujoco", "torch")


@dataclass(frozen=True)
class Stamp:
    """What numbers depend on besides the sweep: package versions, device, renderer, and the demonstrations.

    `data`: (task, N) -> checksum of the N demonstrations; empty while there are none yet.
    """

    versions: Mapping[str, str]
    device: str
    renderer: str
    data: Mapping[tuple[str, int], str]


@dataclass(frozen=True)
class Checkpoint:
    """One fit of a policy to N demonstrations of a task with one training seed. `config` is complete (JSON-able)."""

    task: str
    label: str
    policy: str
    preset: str
    config: Mapping[str, Any]
    n: int
    train_seed: int
    trainable: bool
    data_checksum: str
    key: str

    @property
    def name(self) -> str:
        """Readable and stable, such as `lift/alt/n30/s0`."""
        return f"{self.task.lower()}/{self.label}/n{self.n}/s{self.train_seed}"

    @property
    def folder(self) -> str:
        """Folder name under `checkpoints/`."""
        return f"{self.name.replace('/', '-')}-{self.key[:12]}"


@dataclass(frozen=True)
class Cell:
    """One evaluation of one checkpoint: a split, a perturbation at a severity, and a number of episodes."""

    checkpoint: Checkpoint
    label: str
    config: Mapping[str, Any]
    split: str
    episodes: int
    perturbation: str
    severity: int
    options: Mapping[str, Any]
    key: str
    cameras: tuple[str, ...] = ()
    from_step: int = 0
    specification: str = ""
    runtime: Mapping[str, Any] = field(default_factory=dict)

    @property
    def condition(self) -> str:
        """The perturbation as tables call it: `clean`, `occlusion`, `occlusion@wrist,step20`."""
        reach = PerturbationEntry(name=self.perturbation, cameras=self.cameras, from_step=self.from_step)
        return reach.label

    @property
    def name(self) -> str:
        """Readable and stable, such as `lift/alt/n30/s0/recall/clean`."""
        point = self.checkpoint
        column = self.condition if self.perturbation == CLEAN else f"{self.condition}-{self.severity}"
        return f"{point.task.lower()}/{self.label}/n{point.n}/s{point.train_seed}/{self.split}/{column}"


@dataclass(frozen=True)
class Measurement:
    """One row of the latency and memory tables: a checkpoint as the row `label` runs it."""

    checkpoint: Checkpoint
    label: str
    runtime: Mapping[str, Any]
    key: str

    @property
    def name(self) -> str:
        """Readable, such as `lift/alt-hold/n30/s0`."""
        return f"{self.checkpoint.task.lower()}/{self.label}/n{self.checkpoint.n}/s{self.checkpoint.train_seed}"


@dataclass(frozen=True)
class Plan:
    """Everything that a sweep asks for, in the order of its file; `data`: as in `Stamp`."""

    sweep: SweepSpec
    checkpoints: tuple[Checkpoint, ...]
    cells: tuple[Cell, ...]
    measurements: tuple[Measurement, ...]
    data: Mapping[tuple[str, int], str]


def stamp(device: str, renderer: str, data: Mapping[tuple[str, int], str]) -> Stamp:
    """The stamp of this installation."""
    return Stamp({p: _version(p) for p in KEY_PACKAGES}, device, renderer, dict(data))


def make_plan(sweep: SweepSpec, made_with: Stamp) -> Plan:
    """Check every name and setting of `sweep` and expand it; ConfigError or ContractError before any work."""
    checkpoints: dict[str, Checkpoint] = {}
    cells: dict[str, Cell] = {}
    measurements: list[Measurement] = []
    for task_name in sweep.tasks:
        task = registry.task(task_name)
        _check_evaluations(sweep, task)
        for entry in sweep.policies:
            policy = registry.policy(entry.policy)
            config = _checked_config(policy, entry, task, sweep)
            for n, train_seed in _fits(entry, sweep):
                made = _checkpoint(sweep, made_with, task, entry, policy, config, n, train_seed)
                made = checkpoints.setdefault(made.key, made)
                for cell in _cells(sweep, made_with, entry, policy, config, made):
                    _add_cell(cells, cell)
                if made.trainable:
                    measurements.append(_measurement(sweep, entry, policy, config, made))
    _check_everyone_takes_part(sweep)
    return Plan(sweep, tuple(checkpoints.values()), tuple(cells.values()), tuple(measurements), made_with.data)


def resolve_config(policy: type[Policy], preset: str, overrides: Mapping[str, Any], where: str) -> Any:
    """A policy's settings: defaults, then the preset's, then `overrides`; ConfigError names what is unknown."""
    if policy.presets and preset not in policy.presets:
        raise ConfigError(f"{where}: unknown preset {preset!r}{suggestion(preset, sorted(policy.presets))}")
    return policy.config_type.parse({**policy.presets.get(preset, {}), **overrides}, f"{where}: config")


def digest(specification: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of `specification`."""
    return hashlib.sha256(canonical(specification).encode()).hexdigest()


def canonical(specification: Mapping[str, Any]) -> str:
    """JSON with sorted keys and no spaces."""
    return json.dumps(specification, sort_keys=True, separators=(",", ":"), default=str)


def _add_cell(cells: dict[str, Cell], cell: Cell) -> None:
    """Add `cell`; ConfigError where another has its name, so that no table pools two."""
    other = cells.setdefault(cell.name, cell)
    if other.key != cell.key:
        raise ConfigError(f"two evaluations make a cell called {cell.name!r}; leave one out (or merge them)")


def _measurement(
    sweep: SweepSpec, entry: PolicyEntry, policy: type[Policy], config: Any, checkpoint: Checkpoint
) -> Measurement:
    runtime = _runtime(policy, config)
    how = sweep.measure.model_dump(mode="json")
    key = digest({"checkpoint": checkpoint.key, "runtime": runtime, "measure": how, "label": entry.name})
    return Measurement(checkpoint, entry.name, runtime, key)


def _runtime(policy: type[Policy], config: Any) -> dict[str, Any]:
    """The settings that do not concern the fit."""
    return {k: v for k, v in config.model_dump(mode="json").items() if k in policy.runtime_fields and v is not None}


def _check_everyone_takes_part(sweep: SweepSpec) -> None:
    """An evaluation that no row takes part in is a mistake."""
    for evaluation in sweep.evaluations:
        if not any(_takes_part(evaluation, entry.name, n) for entry in sweep.policies for n in entry.n):
            raise ConfigError(f"evaluations: split {evaluation.split!r} with n = {evaluation.n}: no policy has that n")


def _fits(entry: PolicyEntry, sweep: SweepSpec) -> list[tuple[int, int]]:
    return [(n, seed) for n in entry.n for seed in sweep.train_seeds]


def _checked_config(policy: type[Policy], entry: PolicyEntry, task: TaskInfo, sweep: SweepSpec) -> Any:
    where = f"policy {entry.name!r}"
    config = resolve_config(policy, entry.preset, entry.config, where)
    try:
        requirements = policy(task, config).requirements
    except Exception as error:
        raise ConfigError(f"{where}: cannot be made: {type(error).__name__}: {error}") from error
    check_fit(requirements, task, sweep.image_size, where)
    most = sweep.demonstrations.n
    if not sweep.demonstrations.file and max(entry.n) > most:
        raise ConfigError(f"{where}: n = {max(entry.n)}, but the sweep collects demonstrations.n = {most}")
    if min(entry.n) < 1:
        raise ConfigError(f"{where}: expected every n to be positive, got {min(entry.n)}")
    return config


def _check_evaluations(sweep: SweepSpec, task: TaskInfo) -> None:
    labels = [entry.name for entry in sweep.policies]
    for evaluation in sweep.evaluations:
        if evaluation.split not in task.splits:
            hint = suggestion(evaluation.split, task.splits)
            raise ConfigError(f"{task.name}: unknown split {evaluation.split!r}{hint}")
        for label in evaluation.policies or ():
            if label not in labels:
                raise ConfigError(f"evaluations: unknown policy {label!r}{suggestion(label, labels)}")
        for entry in evaluation.perturbations:
            for severity in entry.severities:
                made = registry.perturbation(entry.name)(severity, **entry.options)
                check_reach(entry, made, task.cameras, task.horizon, f"{task.name}: perturbation {entry.name}")


def _checkpoint(
    sweep: SweepSpec,
    made_with: Stamp,
    task: TaskInfo,
    entry: PolicyEntry,
    policy: type[Policy],
    config: Any,
    n: int,
    train_seed: int,
) -> Checkpoint:
    settings = config.model_dump(mode="json")
    specification: dict[str, Any] = {
        "task": [task.name, task.version],
        "policy": [entry.policy.rpartition("/")[2], policy.version, _source_digest(entry.policy)],
        "config": {k: v for k, v in settings.items() if k not in policy.runtime_fields},
        "n": n,
        "train_seed": train_seed,
        "seed": sweep.seed,
        "data": made_with.data.get((task.name, n), ""),
        "image_size": sweep.image_size,
        "threads": sweep.train_threads,
        "device": made_with.device,
        "versions": made_with.versions,
    }
    trainable = issubclass(policy, Trainable)
    key = digest(specification)
    data = specification["data"]
    return Checkpoint(task.name, entry.name, entry.policy, entry.preset, settings, n, train_seed, trainable, data, key)


def _cells(
    sweep: SweepSpec, made_with: Stamp, entry: PolicyEntry, policy: type[Policy], config: Any, checkpoint: Checkpoint
) -> list[Cell]:
    settings, runtime = config.model_dump(mode="json"), _runtime(policy, config)
    found = []
    for evaluation in sweep.evaluations:
        if _takes_part(evaluation, entry.name, checkpoint.n):
            for column in _columns(evaluation):
                found.append(_cell(sweep, made_with, entry, settings, runtime, checkpoint, evaluation, *column))
    return found


def _takes_part(evaluation: EvaluationEntry, label: str, n: int) -> bool:
    return (evaluation.n is None or n in evaluation.n) and (evaluation.policies is None or label in evaluation.policies)


def _columns(evaluation: EvaluationEntry) -> list[tuple[PerturbationEntry | None, int]]:
    if not evaluation.perturbations:
        return [(None, 0)]
    return [(entry, severity) for entry in evaluation.perturbations for severity in entry.severities]


def _cell(
    sweep: SweepSpec,
    made_with: Stamp,
    entry: PolicyEntry,
    settings: Mapping[str, Any],
    runtime: Mapping[str, Any],
    checkpoint: Checkpoint,
    evaluation: EvaluationEntry,
    perturbation: PerturbationEntry | None,
    severity: int,
) -> Cell:
    episodes = checkpoint.n if evaluation.episodes == "each" else evaluation.episodes
    reached = perturbation or PerturbationEntry(name=CLEAN)
    specification = {
        "checkpoint": checkpoint.key,
        "label": entry.name,
        "preset": entry.preset,
        "config": settings,
        "split": evaluation.split,
        "perturbation": [reached.name, severity, reached.options, *_reach(reached), *_contents(reached)],
        "episodes": episodes,
        "seed": sweep.seed,
        "protocol": PROTOCOL_VERSION,
        "timeout": sweep.decision_timeout_s,
        "threads": sweep.rollout_threads,
        "render_profile": sweep.render_profile,
        "versions": made_with.versions,
        "device": made_with.device,
        "renderer": made_with.renderer,
    }
    return Cell(
        checkpoint,
        entry.name,
        settings,
        evaluation.split,
        int(episodes),
        reached.name,
        severity,
        reached.options,
        digest(specification),
        reached.cameras,
        reached.from_step,
        canonical(specification),
        runtime,
    )


def _reach(entry: PerturbationEntry) -> list[Any]:
    """What an entry adds to a key: nothing where it reaches all cameras from the first step, as it always did."""
    return [entry.cameras, entry.from_step] if entry.cameras or entry.from_step else []


def _contents(entry: PerturbationEntry) -> list[str]:
    """What the files that a perturbation reads add to a key: nothing where it reads none."""
    made = None if entry.name == CLEAN else registry.perturbation(entry.name)(0, **entry.options)
    return [made.contents()] if made is not None and made.contents() else []


def _source_digest(policy: str) -> str:
    """For a policy of the user's own file: the file's digest, so that an edited policy is a new one."""
    if ".py:" not in policy:
        return ""
    return hashlib.sha256(Path(policy.rpartition(":")[0]).read_bytes()).hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
