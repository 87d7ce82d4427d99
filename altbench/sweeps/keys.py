"""Keys: the SHA-256 of the canonical specification of what they name.

Equal keys mean equal numbers, so that a finished cell is never run again. What is added to a specification must leave the
keys of sweeps that do not use it as they were: published results stand on them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from altbench.sweeps.rows import Column, Row
from altbench.sweeps.spec import MeasureEntry, PerturbationEntry


def checkpoint_specification(row: Row, n: int, train_seed: int) -> dict[str, Any]:
    """What a fit of the row's policy to `n` demonstrations depends on."""
    entry, sweep, provenance = row.entry, row.sweep, row.provenance
    return {
        "task": [row.task.name, row.task.version],
        "policy": [entry.policy.rpartition("/")[2], row.policy.version, _source_digest(entry.policy)],
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
    """What the records of a checkpoint's episodes under `column` depend on."""
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
        ],
        **_named(column),
        "episodes": episodes,
        "seed": sweep.seed,
        "protocol": provenance.protocol,
        "timeout": sweep.decision_timeout_s,
        "threads": sweep.rollout_threads,
        "render_profile": sweep.render_profile,
        "versions": provenance.versions,
        "device": provenance.device,
        "renderer": provenance.renderer,
    }


def measurement_specification(row: Row, checkpoint_key: str, how: MeasureEntry) -> dict[str, Any]:
    """What a checkpoint's time and memory, as the row runs it, depend on besides the machine."""
    measure = how.model_dump(mode="json")
    return {"checkpoint": checkpoint_key, "runtime": row.runtime, "measure": measure, "label": row.entry.name}


def _reach(entry: PerturbationEntry) -> list[Any]:
    """What an entry adds: nothing where it reaches all cameras from the first step, as it always did."""
    return [entry.cameras, entry.from_step] if entry.cameras or entry.from_step else []


def _named(column: Column) -> dict[str, Any]:
    """What an event, or a perturbation's label, adds: nothing where there is none."""
    event, label = column.event, column.entry.label
    return {
        **({"event": [event.move_at, event.by]} if event else {}),
        **({"perturbation_label": label} if label else {}),
    }


def _contents(column: Column) -> list[str]:
    """What the files that a perturbation reads add: nothing where it reads none."""
    contents = column.perturbation.contents() if column.perturbation else ""
    return [contents] if contents else []


def _version(column: Column) -> list[str]:
    """What a perturbation's version adds: nothing where it is the first, as it always did."""
    version = column.perturbation.version if column.perturbation else 1
    return [f"version {version}"] if version != 1 else []


def _source_digest(policy: str) -> str:
    """For a policy of the user's own file: the file's digest, so that an edited policy is a new one."""
    if ".py:" not in policy:
        return ""
    return hashlib.sha256(Path(policy.rpartition(":")[0]).read_bytes()).hexdigest()
