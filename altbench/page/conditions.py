"""Rows of a run's page, and the numbers in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from altbench.report.privileged import marked
from altbench.sweeps.spec import CLEAN


@dataclass(frozen=True)
class Row:
    """A row of the main table: a policy with a preset, on a task, at an N.

    `number`: its place. `style`: the number of its label, which has one look.
    """

    number: int
    task: str
    label: str
    policy: str
    preset: str
    n: int
    style: int

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """The values of the columns `success.ROW`."""
        return self.task, self.label, self.policy, self.preset, self.n

    @property
    def name(self) -> str:
        """The label as tables show it."""
        return marked(self.label, self.policy)

    @property
    def title(self) -> str:
        """The label and N; nothing else tells rows of one task apart."""
        return f"{self.name}, N = {self.n}"


@dataclass(frozen=True)
class Condition:
    """The episodes of a row on a split under a perturbation: a number of the page.

    `low`, `high`: the 95 % interval of `rate`; all three are None without episodes.
    `best`: None if the row is not ranked. `cells`: the names of its cells, one for each
    training seed.
    """

    number: int
    row: Row
    split: str
    perturbation: str
    severity: int
    successes: int
    episodes: int
    rate: float | None
    low: float | None
    high: float | None
    missing: int
    best: bool | None
    cells: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing is perturbed."""
        return self.perturbation == CLEAN

    @property
    def title(self) -> str:
        """The split, and what is perturbed."""
        return self.split if self.clean else f"{self.split}, {self.perturbation} {self.severity}"


def order_of(record: Mapping[Any, Any]) -> tuple[bool, str, int]:
    """Return by what a number of the success table is ordered: unperturbed first, then by name and severity."""
    return record["perturbation"] != CLEAN, str(record["perturbation"]), int(record["severity"])


def condition_of(number: int, row: Row, record: Mapping[Any, Any], cells: tuple[str, ...]) -> Condition:
    """Return a number of the success table, `record`, as the page shows it."""
    rate, low, high = (None if pd.isna(record[name]) else float(record[name]) for name in ("rate", "low", "high"))
    return Condition(
        number=number,
        row=row,
        split=str(record["split"]),
        perturbation=str(record["perturbation"]),
        severity=int(record["severity"]),
        successes=int(record["successes"]),
        episodes=int(record["episodes"]),
        rate=rate,
        low=low,
        high=high,
        missing=int(record["infra_errors"]),
        best=None if pd.isna(record["best"]) else bool(record["best"]),
        cells=cells,
    )
