"""Keys of checkpoints, cells and measurements: SHA-256 of a canonical specification.

Equal keys mean equal numbers, so a finished cell is never run again.

Published results depend on these keys. A new entry in a specification must leave the
keys of sweeps that do not use it unchanged. Therefore the functions below that begin
with an underscore return an empty value for a default.
"""

from __future__ import annotations

from typing import Any

from altbench.sweeps.rows import Column, Row
from altbench.sweeps.spec import MeasureEntry, PerturbationEntry, SweepSpec


def checkpoint_specification(row: Row, n: int, train_seed: int) -> dict[str, Any]:
    """Return all that a fit of the row's policy to `n` demonstrations depends on."""
    entry, sweep, provenance = row.entry, row.sweep, row.provenance
    return {
        "task": [row.task.name, row.task.version, *_known(row.sources.task)],
        "policy": [entry.registered.rpartition("/")[2], row.policy.version, row.sources.policy],
        **({"files": row.sources.files} if row.sources.files else {}),
        **({"adapter": row.adapter.tables()} if row.adapter else {}),
        "config": {k: v for k, v in row.settings.items() if k not in row.policy.runtime_fields},
        "n": n,
        "train_seed": train_seed,
        "seed": sweep.seed,
        "data": provenance.data.get((row.task.name, n), ""),
        "image_size": sweep.image_size,
        "threads": sweep.train_threads,
        "device": provenance.device,
        "versions": provenance.versions,
    }


def cell_specification(row: Row, checkpoint_key: str, column: Column, episodes: int) -> dict[str, Any]:
    """Return all that the episodes of a checkpoint in `column` depend on."""
    sweep, provenance, entry = row.sweep, row.provenance, column.entry
    return {
        "checkpoint": checkpoint_key,
        "label": row.entry.name,
        "preset": row.entry.preset,
        "config": row.settings,
        "split": column.split,
        "perturbation": [
            entry.name,
            column.severity,
            entry.options,
            *_reach(entry),
            *_contents(column),
            *_version(column),
            *_known(column.source),
        ],
        **_named(column),
        "episodes": episodes,
        "seed": sweep.seed,
        "protocol": provenance.protocol,
        **_horizon(row),
        "timeout": sweep.decision_timeout_s,
        **_limits(sweep),
        "threads": sweep.rollout_threads,
        "render_profile": sweep.render_profile,
        "versions": provenance.versions,
        "device": provenance.device,
        "renderer": provenance.renderer,
    }


def measurement_specification(row: Row, checkpoint_key: str, how: MeasureEntry) -> dict[str, Any]:
    """Return what a checkpoint's time and memory depend on, apart from the machine.

    The machine is not in the key: a finished run is not measured again elsewhere.
    """
    measure = how.model_dump(mode="json")
    return {"checkpoint": checkpoint_key, "runtime": row.runtime, "measure": measure, "label": row.entry.name}


def _limits(sweep: SweepSpec) -> dict[str, Any]:
    """Return the episode's limit and when a cell is given up; empty for the defaults.

    They decide how a policy's failures are recorded, and how many episodes are played.
    """
    limits = {"episode_timeout_s", "give_up_after"}
    return sweep.model_dump(include=limits)


def _reach(entry: PerturbationEntry) -> list[Any]:
    """Return cameras and first step; empty for all cameras from the first step."""
    return [entry.cameras, entry.from_step] if entry.cameras or entry.from_step else []


def _named(column: Column) -> dict[str, Any]:
    """Return the event and the perturbation's label; empty if neither is given."""
    event, label = column.event, column.entry.label
    return {
        **({"event": [event.move_at, event.to or event.by]} if event else {}),
        **({"perturbation_label": label} if label else {}),
    }


def _horizon(row: Row) -> dict[str, int]:
    """Return the horizon; empty for the task's own, which its version stands for."""
    steps = row.sweep.horizon_of(row.task.name)
    return {} if steps in (None, row.task.horizon) else {"horizon": int(steps or 0)}


def _contents(column: Column) -> list[str]:
    """Return the digest of the files that a perturbation reads; empty without."""
    contents = column.perturbation.contents() if column.perturbation else ""
    return [contents] if contents else []


def _version(column: Column) -> list[str]:
    """Return the perturbation's version; empty for version 1."""
    version = column.perturbation.version if column.perturbation else 1
    return [f"version {version}"] if version != 1 else []


def _known(source: str) -> list[str]:
    """Return the digest of a third party's code; empty for built-in code."""
    return [f"source {source}"] if source else []
