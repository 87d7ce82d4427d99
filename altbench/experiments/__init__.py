"""The paper's experiments, one module per figure or table.

`altbench experiments run E3` (or `main-table`) runs one; shared/experiment.py defines
what an experiment is. A module is imported only when its experiment is needed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from altbench.core.errors import ConfigError, suggestion

if TYPE_CHECKING:
    from altbench.experiments.shared.experiment import Experiment

EXPERIMENTS: dict[str, str] = {
    "E1": "altbench.experiments.e1_manifolds:EXPERIMENT",
    "E2": "altbench.experiments.e2_audit_lift:EXPERIMENT",
    "E3": "altbench.experiments.e3_main_table:EXPERIMENT",
    "E4": "altbench.experiments.e4_encoders:EXPERIMENT",
    "E5": "altbench.experiments.e5_audit_tasks:EXPERIMENT",
    "E6": "altbench.experiments.e6_reactivity:EXPERIMENT",
    "E7": "altbench.experiments.e7_multimodality:EXPERIMENT",
    "E8": "altbench.experiments.e8_latent_map:EXPERIMENT",
    "E9": "altbench.experiments.e9_unrelated_images:EXPERIMENT",
    "ood": "altbench.experiments.ood:EXPERIMENT",
    "scaling": "altbench.experiments.scaling:EXPERIMENT",
    "robustness": "altbench.experiments.robustness:EXPERIMENT",
}
"""Where each experiment is: id -> "module:attribute", in the order of `--all`."""


def load(identity: str) -> Experiment:
    """Return the experiment whose id is `identity`."""
    module, _, attribute = EXPERIMENTS[identity].partition(":")
    found: Experiment = getattr(importlib.import_module(module), attribute)
    return found


def everything() -> list[Experiment]:
    """Return all experiments, in order."""
    return [load(identity) for identity in EXPERIMENTS]


def find(name: str) -> Experiment:
    """Return the experiment with that id or name, in upper or lower case.

    Raise ConfigError with the nearest valid name if there is no such experiment.
    """
    known = {key.lower(): e for e in everything() for key in (e.id, e.name)}
    if name.lower() not in known:
        hint = suggestion(name, sorted(known))
        raise ConfigError(f"unknown experiment {name!r}{hint}; `altbench experiments list` shows them all")
    return known[name.lower()]
