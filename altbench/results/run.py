"""A run: a sweep in a folder, planned for this machine, with what has been recorded of
it so far.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from altbench.adapters.policy import adapted
from altbench.adapters.spec import as_adapter
from altbench.core import registry
from altbench.core.demonstration import Demonstration
from altbench.core.errors import CheckpointError, ConfigError, DatasetError
from altbench.core.policy import Policy
from altbench.results import frames, history, measures
from altbench.results.checkpoints import build_policy, find_checkpoint, is_whole, load_checkpoint
from altbench.results.demonstrations import DemonstrationReader, available_checksums, data_checksums, data_files
from altbench.results.folder import RunFolder
from altbench.results.recorded import Recorded
from altbench.rollout.records import MeasureRecord
from altbench.sweeps.plan import Checkpoint, Plan, make_plan
from altbench.sweeps.rows import Provenance, find_sources, provenance_of
from altbench.sweeps.spec import EvaluationEntry, SweepSpec
from altbench.system import fingerprint
from altbench.system.devices import resolve_device
from altbench.system.fingerprint import Fingerprint

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Run:
    """A sweep in the folder `root`, on a device and a renderer, with its plan.

    `data`: task -> file of demonstrations; empty if nothing needs them. `lacking`: the demonstrations that are
    missing, in words; without them no cell of their task is found. `uncollected`: task ->
    why its demonstrations could not be collected; its cells stay missing. `origin`: the
    working directory that the sweep's relative paths mean. `reader`: holds
    demonstrations in memory. `made_by`: the fingerprint of a run that many machines
    make; None: this machine's. Several runs may share a folder: each one sees its own
    cells alone.
    """

    root: Path
    sweep: SweepSpec
    device: str
    renderer: str
    data: Mapping[str, Path]
    plan: Plan
    lacking: tuple[str, ...] = ()
    uncollected: Mapping[str, str] = field(default_factory=dict)
    origin: str = field(default_factory=os.getcwd, compare=False)
    reader: DemonstrationReader = field(default_factory=DemonstrationReader, compare=False, repr=False)
    made_by: Fingerprint | None = field(default=None, compare=False, repr=False)

    @classmethod
    def begin(
        cls, root: Path | str, sweep: SweepSpec, renderer: str | None = None, *, needs_data: bool | None = None
    ) -> Run:
        """Return the run of `sweep` under `root` before its demonstrations are read.

        Every name and setting is checked, so that a bad sweep is refused before any
        work. Keys are those without demonstrations, so that no cell is found.
        What depends on the machine is as the run began it, if it has begun.
        `renderer`: None selects one. `needs_data`: whether demonstrations belong to the
        run; None asks the sweep. A part of a sweep that has them needs them for its keys.
        """
        root, device = Path(root).absolute(), resolve_device(sweep.device)
        renderer = registry.select_backend() if renderer is None else renderer
        plan = make_plan(history.continue_sweep(sweep, root), provenance_of(device, renderer, {}))
        return cls(root, plan.sweep, device, renderer, data_files(sweep, root, needs_data), plan)

    @classmethod
    def open(cls, root: Path | str, sweep: SweepSpec, renderer: str | None = None) -> Run:
        """Return the run of `sweep` under `root` with the demonstrations that it has so
        far.

        Starts no work. `lacking` names what is missing. DatasetError if the sweep names
        a file of demonstrations that cannot be used.
        """
        begun = cls.begin(root, sweep, renderer)
        found, lacking = available_checksums(sweep, begun.data)
        return replace(begun._planned(found), lacking=lacking)

    def with_data(self, held: str = "") -> Run:
        """Return the run planned with its demonstrations.

        Raise DatasetError if some cannot be used. `held`: for a run that had them
        before, what they were for, such as "that its episodes began from"; the message
        about a missing file says it.
        """
        for path in self.data.values() if held else ():
            history.check_demonstrations(self.sweep, path, held)
        return self._planned(data_checksums(self.sweep, self.data))

    def without_data_of(self, uncollected: Mapping[str, str]) -> Run:
        """Return the run planned with the demonstrations that there are.

        `uncollected`: the tasks without them, each with the reason.
        """
        found, lacking = available_checksums(self.sweep, self.data)
        return replace(self._planned(found), lacking=lacking, uncollected=dict(uncollected))

    def with_evaluations(self, evaluations: Sequence[EvaluationEntry]) -> Run:
        """Return the run of the same rows with other evaluations.

        Fits and their keys stay.
        """
        sweep = self.sweep.model_copy(update={"evaluations": tuple(evaluations)})
        return replace(self, sweep=sweep, plan=make_plan(sweep, self.provenance))

    def for_worker(self, reader: DemonstrationReader | None = None) -> Run:
        """Return the run as a job needs it: without plan and records.

        A job names its own cell, and a plan of thousands of cells would travel with
        every job. `reader`: the worker's own; None: a new one.
        """
        plan = replace(self.plan, checkpoints=(), cells=(), measurements=())
        return replace(self, plan=plan, reader=reader or DemonstrationReader())

    def _planned(self, checksums: Mapping[tuple[str, int], str]) -> Run:
        made_with = provenance_of(self.device, self.renderer, checksums)
        return replace(self, plan=make_plan(self.sweep, made_with))

    @property
    def folder(self) -> RunFolder:
        """The run's folder."""
        return RunFolder(self.root)

    @property
    def provenance(self) -> Provenance:
        """What the run's keys depend on besides its sweep."""
        return provenance_of(self.device, self.renderer, self.plan.data)

    @cached_property
    def recorded(self) -> Recorded:
        """The plan's cells that have a record, read once, when first used.

        A run that is opened later sees what was recorded since. Tables, figures and the
        terminal's summary use this one reading, so that they agree.
        """
        return frames.load_recorded(self.root, [cell.key for cell in self.plan.cells])

    def episodes(self) -> pd.DataFrame:
        """Return one row per recorded episode, as `results.load_episodes`."""
        return self.recorded.episodes()

    def decisions(self) -> pd.DataFrame:
        """Return one row per recorded decision, as `results.load_decisions`."""
        return self.recorded.decisions()

    def measures(self) -> list[MeasureRecord]:
        """Return the plan's measurements of time and memory, as far as they are
        recorded.
        """
        return measures.load_measures(self.root, [m.key for m in self.plan.measurements])

    def demonstrations(self, checkpoint: Checkpoint) -> tuple[Demonstration, ...]:
        """Return the nested subset of N demonstrations that a checkpoint is fitted to.

        DatasetError if their file is missing or holds too few.
        """
        from altbench.dataset.subsets import subset

        if checkpoint.task not in self.data:
            raise DatasetError(f"{self.root}: no demonstrations; nothing in the sweep {self.sweep.name!r} needs them")
        everything = self.reader.read(self.data[checkpoint.task])
        return subset(everything, checkpoint.n, registry.task(checkpoint.task).grid_size, self.sweep.seed)

    def checkpoint_folder(self, checkpoint: Checkpoint) -> Path | None:
        """Return where a fitted checkpoint is; None if it is missing."""
        return find_checkpoint(self.folder.checkpoints, checkpoint.folder)

    def is_fitted(self, checkpoint: Checkpoint) -> bool:
        """Return whether a checkpoint is fitted and no file of it is damaged."""
        found = self.checkpoint_folder(checkpoint)
        return found is not None and is_whole(found)

    def fitted(self, checkpoint: Checkpoint) -> Path:
        """Return where a fitted checkpoint is.

        Raise CheckpointError if it is missing.
        """
        found = self.checkpoint_folder(checkpoint)
        if found is None:
            raise CheckpointError(
                f"{self.folder.checkpoints}: the checkpoint {checkpoint.name} is missing; `altbench run` fits it"
            )
        return found

    def policy(self, checkpoint: Checkpoint, runtime: Mapping[str, Any] | None = None) -> Policy:
        """Return a checkpoint's policy, ready to act.

        `runtime` changes settings that do not concern the fit. A policy that learns
        nothing is made, others are loaded; CheckpointError if one is not fitted yet.
        ConfigError if its code or files have changed since the run was planned.
        """
        if checkpoint.trainable:
            policy = load_checkpoint(self.fitted(checkpoint), self.device, runtime)
        else:
            policy = ready_policy(checkpoint, self.device, runtime)
        check_unchanged(checkpoint, policy)
        return adapted(policy, as_adapter(checkpoint.adapter))

    def fingerprint(self) -> Fingerprint:
        """Return what makes this run's results: this machine, the renderer and the
        demonstrations.

        Of each task the largest set of demonstrations stands for all.
        """
        if self.made_by is not None:
            return self.made_by
        largest = {task: checksum for (task, _), checksum in sorted(self.plan.data.items())}
        limits = {task: (self.sweep.horizon_of(task), registry.task(task).horizon) for task in self.sweep.tasks}
        horizon = ", ".join(
            f"{task} {steps} steps" for task, (steps, own) in limits.items() if steps not in (None, own)
        )
        found = fingerprint.collect(
            renderer=self.renderer, data=" ".join(largest.values()), horizon=horizon, sources=self.plan.sources
        )
        return replace(found, mixed=self.folder.mixed())


def ready_policy(checkpoint: Checkpoint, device: str, runtime: Mapping[str, Any] | None = None) -> Policy:
    """Return a policy that learns nothing, ready to act on `device`.

    `runtime`: settings that replace the checkpoint's.
    """
    config = {**checkpoint.config, **(runtime or {})}
    policy = build_policy(checkpoint.task, checkpoint.policy, config, checkpoint.name)
    policy.place(device)
    return policy


def check_unchanged(checkpoint: Checkpoint, policy: Policy) -> None:
    """Raise ConfigError if a policy's code or files are not those that its key names."""
    if find_sources(checkpoint.policy, policy, checkpoint.name) != checkpoint.sources:
        raise ConfigError(
            f"{checkpoint.name}: the code or the files of its policy or task have changed since the run began; "
            "run it again"
        )
