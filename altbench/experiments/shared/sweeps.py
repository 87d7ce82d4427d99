"""Making the experiments' sweeps, so that the same row is the same cell in all of them.

A cell's key holds its row's label and its number of episodes. Experiments that need the
same numbers must therefore name them in the same words; these functions do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from altbench.core import registry
from altbench.sweeps.spec import (
    DemonstrationEntry,
    EvaluationEntry,
    EventEntry,
    MeasureEntry,
    PerturbationEntry,
    PolicyEntry,
    SweepSpec,
)

Preset = Literal["small", "paper"]
"""The size of an experiment's sweeps."""
TASK = "Lift"
"""The task of every experiment but E5."""
N = 30
"""Demonstrations that policies are fitted to, as in the paper.

Experiments about the number of demonstrations have others too.
"""
COLLECTED = 120
"""Demonstrations of Lift in the run folder.

A smaller N takes the first passes over the grid, so that all share one file.
"""
EPISODES = 100
"""Episodes of a cell, unless its evaluation says otherwise."""
POLICIES = ("alt", "alt_plus", "kdtree", "open_loop", "bc", "act", "diffusion")
"""The rows of the main table, and of every experiment that compares policies."""
KEY = "alt-key"
"""The row of ALT with its learned key alone, without plain thumbnails, in every table of flags."""
HOLD = "alt-hold"
"""The row of ALT that keeps its pose while its flag is raised."""
OUT_OF_DISTRIBUTION = ("interpolate", "extrapolate_side", "extrapolate_back")
"""Splits with poses between and beyond the demonstrated ones."""


def row(policy: str, preset: Preset, label: str = "", n: Sequence[int] = (N,), **config: Any) -> PolicyEntry:
    """Make a row of the tables: `policy` at its own preset of that name.

    A policy that has presets and not that one, such as `fisher`, which has one size, takes
    its default. `config`: settings that differ from that preset's.
    """
    known = registry.policy(policy).presets
    if known and preset not in known:
        return PolicyEntry(policy=policy, label=label, n=tuple(n), config=config)
    return PolicyEntry(policy=policy, label=label, preset=preset, n=tuple(n), config=config)


def that_holds(preset: Preset) -> PolicyEntry:
    """Make the row of ALT that keeps its pose while its flag is raised: the same checkpoint, another setting."""
    return row("alt", preset, label=HOLD, when_ood="hold")


def without_thumbnails(preset: Preset) -> list[PolicyEntry]:
    """Make the row of ALT without thumbnails; no row at `paper`, whose ALT has none."""
    return [row("alt", preset, label=KEY, appearance=0.0)] if preset == "small" else []


def evaluation(
    split: str,
    episodes: int | Literal["each"] = EPISODES,
    policies: Sequence[str] | None = None,
    n: Sequence[int] | None = None,
    perturbations: Sequence[PerturbationEntry] = (),
    event: EventEntry | None = None,
) -> EvaluationEntry:
    """Make a column of the tables; `replay` plays each demonstration once."""
    wanted = "each" if split == "replay" else episodes
    return EvaluationEntry(
        split=split,
        episodes=wanted,
        policies=None if policies is None else tuple(policies),
        n=None if n is None else tuple(n),
        perturbations=tuple(perturbations),
        event=event,
    )


def make_sweep(
    name: str,
    policies: Sequence[PolicyEntry],
    evaluations: Sequence[EvaluationEntry],
    *,
    tasks: Sequence[str] = (TASK,),
    train_seeds: Sequence[int] = (0,),
    collected: int = COLLECTED,
) -> SweepSpec:
    """Make a sweep that shares demonstrations, checkpoints and cells with all others."""
    return SweepSpec(
        name=name,
        description=f"experiment {name}",
        tasks=tuple(tasks),
        train_seeds=tuple(train_seeds),
        demonstrations=DemonstrationEntry(n=collected),
        policies=tuple(policies),
        evaluations=tuple(evaluations),
        measure=MeasureEntry(),
    )
