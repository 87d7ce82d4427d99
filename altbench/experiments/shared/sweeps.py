"""What the experiments share: how a sweep of theirs is made, so that the same row is the same cell in each of them.

A cell's key holds its row's label and its number of episodes: experiments that want the same numbers must ask for them
with the same words, which these functions see to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from altbench.experiments.shared.experiment import Preset
from altbench.sweeps.spec import (
    DemonstrationEntry,
    EvaluationEntry,
    EventEntry,
    MeasureEntry,
    PerturbationEntry,
    PolicyEntry,
    SweepSpec,
)

TASK = "Lift"
N = 30
"""Demonstrations that policies are fitted to, unless an experiment is about their number; as in the paper."""
COLLECTED = 120
"""Demonstrations of Lift in the run folder; those of a smaller N are the first passes over the grid."""
EPISODES = 100
POLICIES = ("alt", "alt_plus", "kdtree", "open_loop", "bc", "act", "diffusion")
"""The rows of the main table, and of every experiment that asks how policies differ."""
OUT_OF_DISTRIBUTION = ("interpolate", "extrapolate_side", "extrapolate_back")


def row(policy: str, preset: Preset, label: str = "", n: Sequence[int] = (N,), **config: Any) -> PolicyEntry:
    """A row of the tables: `policy` at its own preset of that name, with the settings `config` instead of its own."""
    return PolicyEntry(policy=policy, label=label, preset=preset, n=tuple(n), config=config)


def evaluation(
    split: str,
    episodes: int | Literal["each"] = EPISODES,
    policies: Sequence[str] | None = None,
    n: Sequence[int] | None = None,
    perturbations: Sequence[PerturbationEntry] = (),
    event: EventEntry | None = None,
) -> EvaluationEntry:
    """A column: `split`, `replay` with each demonstration once."""
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
    """A sweep that shares demonstrations, checkpoints and cells with all others made here."""
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
