"""Sweeps as a run keeps them (sweep.json): with everything definite that the machine or a later default would change.

So a run means the same settings, and has the same keys, on another machine and under a later version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from altbench.core import registry
from altbench.core.errors import AltbenchError
from altbench.core.spec import Spec, former_defaults
from altbench.sweeps.spec import PolicyEntry, SweepSpec
from altbench.system import sealed


def pinned(entry: PolicyEntry, config: Spec) -> PolicyEntry:
    """Return `entry` with those of its complete settings `config` that it must name wherever it is kept."""
    values = {name: getattr(config, name) for name in former_defaults(type(config))}
    return entry.model_copy(update={"config": {**entry.config, **values}}) if values else entry


def load_kept(path: Path) -> SweepSpec:
    """Return the sweep that a run kept in `path`, as it was meant; ResultsError if it is damaged or not there."""
    advice = "the command that made the run writes it anew"
    return as_kept(SweepSpec.parse(sealed.read_json(path, SweepSpec.model_fields, advice), str(path)))


def as_kept(sweep: SweepSpec) -> SweepSpec:
    """Return a kept `sweep` as it was meant: settings that it does not name are of before their defaults changed."""
    return sweep.model_copy(update={"policies": tuple(entry_as_kept(entry) for entry in sweep.policies)})


def entry_as_kept(entry: PolicyEntry) -> PolicyEntry:
    """Return a kept policy entry as it was meant; a policy that is not known here any more stays as it is."""
    former = _former(entry.registered)
    if former:
        named = _preset(entry)
        former = {name: value for name, value in former.items() if name not in named}
    return entry.model_copy(update={"config": {**former, **entry.config}}) if former else entry


def continued(sweep: SweepSpec, kept: Sequence[SweepSpec]) -> SweepSpec:
    """Return `sweep` with what the runs of it that are `kept` began with, where it leaves that to the machine.

    `kept`: as `as_kept` returns them. A run that goes on elsewhere then finds its checkpoints, and trains the rest alike.
    """
    before = {entry.name: entry for one in kept if one.name == sweep.name for entry in one.policies}
    entries = tuple(_continued(entry, before.get(entry.name)) for entry in sweep.policies)
    return sweep.model_copy(update={"policies": entries})


def _continued(entry: PolicyEntry, before: PolicyEntry | None) -> PolicyEntry:
    if before is None or (before.registered, before.preset) != (entry.registered, entry.preset):
        return entry
    left = {name for name in _former(entry.registered) if name not in entry.config}
    if {k: v for k, v in before.config.items() if k not in left} != dict(entry.config):
        return entry
    own: Mapping[str, Any] = {name: before.config[name] for name in left if name in before.config}
    return entry.model_copy(update={"config": {**entry.config, **own}}) if own else entry


def _preset(entry: PolicyEntry) -> Mapping[str, Any]:
    """Return the settings that the entry's preset names, whatever the defaults are."""
    kind = registry.policy(entry.registered)
    return kind.presets.get(kind.preset_key(entry.preset), {})


def _former(policy: str) -> dict[str, Any]:
    try:
        return former_defaults(registry.policy(policy).config_type)
    except (AltbenchError, ImportError):
        return {}
