"""Rows against one row on the same episodes: differences of success with intervals and exact tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from altbench.episode_tables import SIGNIFICANT
from altbench.experiments.texts import frame_table
from altbench.stats import (
    RANKED_FROM,
    PairedCounts,
    holm,
    mcnemar_exact,
    paired_counts,
    paired_difference_interval,
)
from altbench.table_formats import Table

COLUMNS = ["row", "against", "pairs", "difference", "low", "high", "p_holm", "better"]


def paired_table(title: str, groups: Mapping[str, pd.DataFrame], against: str, names: str, what: str) -> Table:
    """Success of each of `groups` (name -> episodes) minus that of the group `against`; Newcombe's intervals.

    `better`: significantly so (exact McNemar test, Holm-corrected over the table, at least 50 pairs). Without rows where
    `against` has no episodes. `what`: the episodes, in words.
    """
    base = groups.get(against)
    counts: dict[str, PairedCounts] = {}
    if base is not None and len(base):
        others = {name: group for name, group in groups.items() if name != against and len(group)}
        counts = {name: paired_counts(base, group, ("train_seed", "seed", "episode")) for name, group in others.items()}
    counts = {name: found for name, found in counts.items() if found.total}
    corrected = holm([mcnemar_exact(c.only_first, c.only_second) for c in counts.values()])
    rows = [_difference(name, against, c, p) for (name, c), p in zip(counts.items(), corrected, strict=True)]
    data = pd.DataFrame(rows, columns=COLUMNS)
    texts = {
        names: list(data["row"]),
        f"success minus {against}'s": [
            f"{100 * d:+.0f} % [{100 * low:+.0f}, {100 * high:+.0f}]"
            for d, low, high in zip(data["difference"], data["low"], data["high"], strict=True)
        ],
        "p (Holm)": [f"{p:.2g}" for p in data["p_holm"]],
        "pairs": [str(n) for n in data["pairs"]],
    }
    note = f"{what}; 95 % intervals, exact McNemar test; fewer than {RANKED_FROM} pairs are not judged."
    return frame_table(title, data, texts, note)


def better(table: Table) -> list[str]:
    """Rows of a `paired_table` that are significantly better."""
    return list(table.data.loc[table.data["better"].astype(bool), "row"])


def _difference(name: str, against: str, counts: PairedCounts, p: float) -> dict[str, Any]:
    low, high = paired_difference_interval(counts)
    judged = counts.total >= RANKED_FROM and p < SIGNIFICANT and counts.difference > 0
    values = {"pairs": counts.total, "difference": counts.difference, "low": low, "high": high, "p_holm": p}
    return {"row": name, "against": against, **values, "better": judged}
