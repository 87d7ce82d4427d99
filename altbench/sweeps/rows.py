"""Rows and columns of a sweep's tables, checked.

A row is a policy entry on a task. A column is a split, perturbation and event under
which the row's policy is evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any, get_args

from altbench.adapters.policy import adapted
from altbench.adapters.spec import Adapter, as_adapter
from altbench.core import registry
from altbench.core.contents import digest_of
from altbench.core.errors import AltbenchError, ConfigError, ContractError, suggestion
from altbench.core.perturbation import AnyPerturbation, ScenePerturbation
from altbench.core.policy import Policy, Requirements, Trainable, check_fit, resolve_config
from altbench.core.task import TaskInfo
from altbench.core.types import ControlMode
from altbench.rollout.episode import PROTOCOL_VERSION
from altbench.sweeps.kept import pinned
from altbench.sweeps.needs import CALIBRATE, FROM_DEMONSTRATIONS, task_split
from altbench.sweeps.spec import CLEAN, EvaluationEntry, EventEntry, PerturbationEntry, PolicyEntry, SweepSpec

KEY_PACKAGES = ("robosuite", "mujoco", "torch")
"""Packages whose versions enter keys, since another version may give other numbers."""


@dataclass(frozen=True)
class Provenance:
    """All that results depend on, apart from the sweep.

    `versions`: of the packages in `KEY_PACKAGES`. `data`: (task, N) -> checksum of the
    N demonstrations; empty before they are collected. `protocol`: the version of the
    rollout loop (`PROTOCOL_VERSION`).
    """

    versions: Mapping[str, str]
    device: str
    renderer: str
    data: Mapping[tuple[str, int], str]
    protocol: int


def provenance_of(device: str, renderer: str, data: Mapping[tuple[str, int], str]) -> Provenance:
    """Return the provenance of this installation."""
    return Provenance({p: _version(p) for p in KEY_PACKAGES}, device, renderer, dict(data), PROTOCOL_VERSION)


@dataclass(frozen=True)
class Column:
    """A column of the tables: the split, perturbation and event of a cell's episodes.

    `entry`: the sweep's entry of the perturbation; a clean column has one named
    `clean`. `perturbation`: made from `entry` at `severity`, or None if the column is
    clean. `source`: the digest of its code, as `registry.source`.
    """

    split: str
    entry: PerturbationEntry
    severity: int
    event: EventEntry | None = None
    source: str = field(default="", compare=False)
    # Cells are pickled for worker processes, and perturbations with them.
    perturbation: AnyPerturbation | None = field(default=None, compare=False, repr=False)

    @property
    def where(self) -> str:
        """The split and event in tables: `recall`, `recall+move15by0.08`."""
        return f"{self.split}+{self.event.title}" if self.event else self.split

    @property
    def clean(self) -> bool:
        """Whether nothing is perturbed."""
        return self.perturbation is None

    @property
    def name(self) -> str:
        """A readable and stable name.

        Such as `recall/clean` or `recall+move15by0.08/occlusion@wrist,step20-2`.
        """
        return f"{self.where}/{self.entry.title}" if self.clean else f"{self.where}/{self.entry.title}-{self.severity}"


@dataclass(frozen=True)
class Sources:
    """Digests of what a row's results depend on and no version tells; empty if nothing.

    `policy`, `task`: of the code of a third party's, as `registry.source`. `files`: of
    the files that a third party's policy reads (`Policy.files`).
    """

    policy: str = ""
    task: str = ""
    files: str = ""


def find_sources(name: str, made: Policy, where: str) -> Sources:
    """Return the present sources of the policy `made`, which a sweep calls `name`.

    Raise ConfigError, which begins with `where`, if a file is missing.
    """
    elsewhere = made.identity()
    built_in = type(made).__module__.partition(".")[0] in registry.OWN_PACKAGES
    files = "" if built_in and not elsewhere else digest_of(made.files(), where)
    return Sources(elsewhere or registry.source("policy", name), registry.source("task", made.task.name), files)


Evaluations = tuple[tuple[EvaluationEntry, tuple[Column, ...]], ...]
"""A sweep's evaluations, each with its columns on one task."""


@dataclass(frozen=True)
class Row:
    """A policy entry on a task: what all its checkpoints, cells and measurements share.

    `config`: the policy's checked settings. `requirements`: with these. `evaluations`: all of the task's; `columns`
    returns those of this row. `sources`: digests of code and files. `adapter`: around the policy; None: nothing.
    """

    sweep: SweepSpec
    provenance: Provenance
    task: TaskInfo
    entry: PolicyEntry
    policy: type[Policy]
    config: Any
    requirements: Requirements
    evaluations: Evaluations
    sources: Sources = field(default_factory=Sources)
    adapter: Adapter | None = None

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All settings, as JSON. The row's cells share them: a big plan has a million."""
        values: dict[str, Any] = self.config.model_dump(mode="json")
        return values

    @cached_property
    def runtime(self) -> dict[str, Any]:
        """The settings that do not change the fit."""
        return {k: v for k, v in self.settings.items() if k in self.policy.runtime_fields}

    def columns(self, n: int) -> list[tuple[EvaluationEntry, Column]]:
        """Return the row's columns for `n` demonstrations, in the sweep's order."""
        own = [(e, columns) for e, columns in self.evaluations if takes_part(e, self.entry.name, n)]
        return [(evaluation, column) for evaluation, columns in own for column in columns]


def make_row(
    sweep: SweepSpec, provenance: Provenance, task: TaskInfo, entry: PolicyEntry, evaluations: Evaluations
) -> Row:
    """Return the row of `entry` on `task`.

    Raise ConfigError or ContractError if entry, task and sweep do not fit each other.
    """
    where = f"policy {entry.name!r}"
    _check_isolated(entry, where)
    policy = registry.policy(entry.registered)
    settings = entry.settings(provenance.device, sweep.rollout_threads)
    config = resolve_config(policy, entry.preset, settings, where).resolve(provenance.device)
    adapter = _adapter(entry, policy, where)
    try:
        with closing(policy(task, config)) as made:
            requirements = made.requirements if adapter is None else adapted(made, adapter).requirements
            sources = find_sources(entry.registered, made, where)
    except AltbenchError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{where}: cannot be made: {type(error).__name__}: {error}") from error
    _check_kind(requirements, where)
    check_fit(requirements, task, sweep.image_size, where)
    _check_replay(sweep, entry, where)
    most = sweep.demonstrations.n
    if not sweep.demonstrations.file and max(entry.n) > most:
        raise ConfigError(f"{where}: n = {max(entry.n)}, but the sweep collects demonstrations.n = {most}")
    if min(entry.n) < 1:
        raise ConfigError(f"{where}: expected every n to be positive, got {min(entry.n)}")
    contents = None if adapter is None else adapter.tables()
    entry = entry.model_copy(update={"preset": policy.preset_key(entry.preset), "adapter": contents})
    entry = pinned(entry, config)
    return Row(sweep, provenance, task, entry, policy, config, requirements, evaluations, sources, adapter)


def _adapter(entry: PolicyEntry, policy: type[Policy], where: str) -> Adapter | None:
    """Return the row's adapter; None if it changes nothing. ConfigError for a policy that is trained here."""
    try:
        found = as_adapter(entry.adapter)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    if found is None or found.is_identity:
        return None
    if issubclass(policy, Trainable):
        raise ConfigError(
            f"{where}: it learns from our demonstrations, and so in our conventions; an adapter is for a policy that "
            "brings its weights. Leave `adapter` out"
        )
    return found


def _check_isolated(entry: PolicyEntry, where: str) -> None:
    """Raise ConfigError for an isolated policy that must be fitted first.

    A file's class is not asked: its code must not run in this process.
    """
    if (
        entry.isolate
        and entry.policy in registry.BUILT_IN["policy"]
        and issubclass(registry.policy(entry.policy), Trainable)
    ):
        raise ConfigError(
            f"{where}: isolate: {entry.policy!r} must be fitted first; expected a policy that is ready to act, or a "
            "checkpoint: policy = 'RUN/checkpoints/NAME'"
        )


def _check_kind(requirements: Any, where: str) -> None:
    """Raise ContractError unless these are Requirements with integer horizons."""
    if not isinstance(requirements, Requirements):
        raise ContractError(f"{where}: requirements: expected altbench.api.Requirements, got {requirements!r}")
    if requirements.control_mode not in get_args(ControlMode):
        raise ContractError(
            f"{where}: requirements: control_mode: expected {' or '.join(get_args(ControlMode))}, got "
            f"{requirements.control_mode!r}"
        )
    for name in ("obs_horizon", "pred_horizon", "action_horizon"):
        value = getattr(requirements, name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ContractError(f"{where}: requirements: {name}: expected a whole number, got {value!r}")


def _check_replay(sweep: SweepSpec, entry: PolicyEntry, where: str) -> None:
    """Raise ConfigError if the split `replay` would repeat initial states.

    Statistics would count the repeats as independent episodes.
    """
    for n, evaluation in [(n, e) for n in entry.n for e in sweep.evaluations if takes_part(e, entry.name, n)]:
        wanted = evaluation.episodes
        if evaluation.split == "replay" and wanted != "each" and wanted > n:
            raise ConfigError(
                f"{where}: with n = {n} the split replay has {n} initial states, one for each demonstration; "
                f'expected episodes = "each" or at most {n}, got {wanted}'
            )


def make_evaluations(sweep: SweepSpec, task: TaskInfo) -> Evaluations:
    """Check the sweep's evaluations on `task` and make their perturbations.

    Raise ConfigError for an unknown name, or for an evaluation that `task` cannot have.
    """
    labels = [entry.name for entry in sweep.policies]
    task = replace(task, horizon=sweep.horizon_of(task.name) or task.horizon)
    for evaluation in sweep.evaluations:
        if task_split(evaluation.split) not in task.splits:
            hint = suggestion(evaluation.split, (*task.splits, CALIBRATE))
            raise ConfigError(f"{task.name}: unknown split {evaluation.split!r}{hint}")
        for label in evaluation.policies or ():
            if label not in labels:
                raise ConfigError(f"evaluations: unknown policy {label!r}{suggestion(label, labels)}")
        if evaluation.event:
            _check_event(evaluation.event, task, evaluation.split)
    return tuple((evaluation, _columns(evaluation, task)) for evaluation in sweep.evaluations)


def _columns(evaluation: EvaluationEntry, task: TaskInfo) -> tuple[Column, ...]:
    split, event = evaluation.split, evaluation.event
    if not evaluation.perturbations:
        return (Column(split, PerturbationEntry(name=CLEAN), 0, event),)
    return tuple(
        Column(split, entry, severity, event, source, _perturbation(entry, severity, task))
        for entry in evaluation.perturbations
        for source in [registry.source("perturbation", entry.name)]
        for severity in entry.severities
    )


def _perturbation(entry: PerturbationEntry, severity: int, task: TaskInfo) -> AnyPerturbation:
    """Make the perturbation of `entry` at `severity`.

    Raise ConfigError if its label is taken, or if `task` lacks its cameras or step.
    """
    if entry.label == CLEAN or (entry.label != entry.name and entry.label in registry.names("perturbation")):
        raise ConfigError(
            f"perturbation {entry.name}: label {entry.label!r} names another perturbation; choose a different label"
        )
    made = registry.perturbation(entry.name)(severity, **entry.options)
    where = f"{task.name}: perturbation {entry.name}"
    for camera in entry.cameras:
        if camera not in task.cameras:
            raise ConfigError(f"{where}: unknown camera {camera!r}{suggestion(camera, task.cameras)}")
    if entry.from_step >= task.horizon:
        raise ConfigError(
            f"{where}: from_step: expected a step before the horizon, {task.horizon}, got {entry.from_step}"
        )
    if entry.cameras and isinstance(made, ScenePerturbation) and not made.per_camera:
        raise ConfigError(f"{where}: it changes the scene, which every camera shows; leave `cameras` out")
    return made


def _check_event(event: EventEntry, task: TaskInfo, split: str) -> None:
    if event.to and split not in FROM_DEMONSTRATIONS:
        raise ConfigError(
            f"{task.name}: event: to = {event.to!r}: expected a split that begins from demonstrations "
            f"({', '.join(FROM_DEMONSTRATIONS)}), got {split!r}"
        )
    if not task.movable:
        raise ConfigError(
            f"{task.name}: the event {event.title} moves an object during an episode, and this task has none that can "
            "be moved; leave the event out, or give the task a sweep of its own"
        )
    if event.move_at >= task.horizon:
        raise ConfigError(
            f"{task.name}: event: move_at: expected a step before the horizon, {task.horizon}, got {event.move_at}"
        )


def check_no_empty_evaluation(sweep: SweepSpec) -> None:
    """Raise ConfigError if no row takes part in one of the evaluations: a mistake."""
    for evaluation in sweep.evaluations:
        if not any(takes_part(evaluation, entry.name, n) for entry in sweep.policies for n in entry.n):
            raise ConfigError(f"evaluations: split {evaluation.split!r} with n = {evaluation.n}: no policy has that n")


def takes_part(evaluation: EvaluationEntry, label: str, n: int) -> bool:
    """Tell whether the row `label` with `n` demonstrations has this evaluation."""
    return (evaluation.n is None or n in evaluation.n) and (evaluation.policies is None or label in evaluation.policies)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
