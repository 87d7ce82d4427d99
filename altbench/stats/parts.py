"""Episodes in parts: what tables and figures are made of, one condition of a task at a time.

A run of a hundred thousand cells has millions of episodes. No number of a table needs
those of several conditions at once, but for a few facts. So no function here or in the
report holds more than one part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from altbench.results.collected import adding_collected
from altbench.results.recorded import Recorded
from altbench.results.served import adding_served
from altbench.results.training import adding_training
from altbench.rollout.records import CellHeader
from altbench.stats.rates import countable, success_rates
from altbench.sweeps.spec import CLEAN, SweepSpec

PART = ["task", "split", "perturbation", "severity"]
"""The columns that are one value in a part."""


@dataclass(frozen=True)
class EpisodeParts:
    """The episodes of recorded cells; one part of them is held at a time.

    `add`: adds columns to a part. `task`, `split`, `perturbation`: what is chosen; None:
    all. `counted`: whether episodes that say nothing about the policy are left out.
    """

    recorded: Recorded
    add: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame
    task: str | None = None
    split: str | None = None
    perturbation: str | None = None
    counted: bool = False

    def parts(self) -> Iterator[pd.DataFrame]:
        """Yield the parts that have episodes."""
        found = (self.add(part) for part in self.recorded.parts(self._chosen))
        yield from (part for one in found if len(part := countable(one) if self.counted else one))

    def _chosen(self, header: CellHeader) -> bool:
        pairs = ((self.task, header.task), (self.split, header.split), (self.perturbation, header.perturbation))
        return all(wanted is None or wanted == own for wanted, own in pairs)


def parts_of_run(recorded: Recorded, folder: Path, sweep: SweepSpec | None, out: Path) -> EpisodeParts:
    """Return the episodes of a run in parts, with what its folder says of them besides.

    `out`: where it is said which checkpoints have converged, and what servers were.
    """
    collected, training, served = adding_collected(folder, sweep), adding_training(out), adding_served(out)
    return EpisodeParts(recorded, lambda frame: served(training(collected(frame))))


Episodes = pd.DataFrame | EpisodeParts
"""Episodes as a frame (`results.load_episodes`), or in parts."""


def parts_of(episodes: Episodes) -> Iterator[pd.DataFrame]:
    """Yield the parts of `episodes`: on each split of a task, the unperturbed one first."""
    if isinstance(episodes, EpisodeParts):
        yield from episodes.parts()
        return
    names = [name for name in PART if name in episodes]
    groups = dict(iter(episodes.groupby(names, observed=True)))
    clean = names.index("perturbation")
    for key in sorted(groups, key=lambda key: (*key[:clean], key[clean] != CLEAN, *key[clean:])):
        yield groups[key]


def chosen(
    episodes: Episodes, task: str | None = None, split: str | None = None, perturbation: str | None = None
) -> Episodes:
    """Return the episodes of a task, a split and a perturbation; None: of all."""
    if isinstance(episodes, EpisodeParts):
        return replace(
            episodes,
            task=task or episodes.task,
            split=split or episodes.split,
            perturbation=perturbation or episodes.perturbation,
        )
    for name, value in (("task", task), ("split", split), ("perturbation", perturbation)):
        episodes = episodes if value is None else episodes[episodes[name] == value]
    return episodes


def counted(episodes: Episodes) -> Episodes:
    """Return the episodes that count."""
    return replace(episodes, counted=True) if isinstance(episodes, EpisodeParts) else countable(episodes)


def rates_by(
    episodes: Episodes, by: Sequence[str], narrow: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame
) -> pd.DataFrame:
    """Return `stats.rates.success_rates` of groups that lie in one part each, sorted by `by`.

    `narrow`: leaves rows of a part out.
    """
    return gathered(episodes, lambda part: success_rates(narrow(part), by), by)


def gathered(episodes: Episodes, made: Callable[[pd.DataFrame], pd.DataFrame], by: Sequence[str]) -> pd.DataFrame:
    """Return the rows that `made` makes of each part, sorted by the columns `by`."""
    found = [made(part) for part in parts_of(episodes)]
    full = [one for one in found if len(one)] or found[:1] or [made(empty(episodes))]
    return pd.concat(full, ignore_index=True).sort_values(list(by), kind="stable", ignore_index=True)


def empty(episodes: Episodes) -> pd.DataFrame:
    """Return no episodes, with all columns."""
    if isinstance(episodes, pd.DataFrame):
        return episodes.head(0)
    return episodes.add(episodes.recorded.no_episodes())
