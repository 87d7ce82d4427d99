"""The paper's experiments, one module per figure or table.

`altbench experiments run E3` (or `main-table`) runs one; shared/experiment.py defines
what an experiment is. A module is imported only when its experiment is needed: what one says
of itself is read from the source.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from altbench.core.docstrings import keywords
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


@dataclass(frozen=True)
class About:
    """What an experiment says of itself.

    `id`: as in the paper's list (E3); `name`: in words (main-table); `question`: one
    sentence.
    """

    id: str
    name: str
    title: str
    question: str

    @property
    def folder(self) -> str:
        """Its folder's name, such as `E3-main-table`."""
        return f"{self.id}-{self.name}"


def about(identity: str) -> About:
    """Return what the experiment whose id is `identity` says of itself; nothing is imported."""
    module, _, attribute = EXPERIMENTS[identity].partition(":")
    told = keywords(module, attribute)
    if any(field.name not in told for field in fields(About)):  # the source is missing, as in a frozen program
        return load(identity)
    return About(**{field.name: told[field.name] for field in fields(About)})


def listed() -> list[About]:
    """Return what all experiments say of themselves, in order."""
    return [about(identity) for identity in EXPERIMENTS]


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
    known = {key.lower(): one.id for one in listed() for key in (one.id, one.name)}
    if name.lower() not in known:
        hint = suggestion(name, sorted(known))
        raise ConfigError(f"unknown experiment {name!r}{hint}; `altbench experiments list` shows them all")
    return load(known[name.lower()])
