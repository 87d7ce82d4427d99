"""Rows against one row on the same episodes: differences of success with intervals and exact tests."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from altbench.experiments.shared.texts import frame_table
from altbench.report.success import SIGNIFICANT
from altbench.report.table import Table
from altbench.stats.paired import PairedTest, paired_counts, paired_difference_interval, paired_tests
from altbench.stats.rates import RANKED_FROM

PAIR = ("train_seed", "seed", "episode")
COLUMNS = ["row", "against", "pairs", "difference", "low", "high", "p_holm", "better"]


def paired_table(title: str, groups: Mapping[str, pd.DataFrame], against: str, names: str, what: str) -> Table:
    """Success of each of `groups` (name -> episodes) minus that of the group `against`; Newcombe's intervals.

    `better`: significantly so (`stats.paired_tests` over the table, at least 50 episodes). Without rows where `against` has
    no episodes. The intervals are of one training seed, which all experiments that compare so have. `what`: the
    episodes, in words.
    """
    base = groups.get(against, pd.DataFrame())
    others = {name: group for name, group in groups.items() if name != against and _shared(base, group)}
    tests = paired_tests(base, list(others.values()))
    rows = [_difference(name, against, base, own, t) for (name, own), t in zip(others.items(), tests, strict=True)]
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


def _shared(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Whether there are episodes that both played."""
    return bool(len(first) and len(second) and paired_counts(first, second, PAIR).total)


def _difference(
    name: str, against: str, base: pd.DataFrame, own: pd.DataFrame, test: PairedTest
) -> dict[str, str | float | bool]:
    counts = paired_counts(base, own, PAIR)
    low, high = paired_difference_interval(counts)
    judged = test.pairs >= RANKED_FROM and test.p < SIGNIFICANT and counts.difference > 0
    values = {"pairs": counts.total, "difference": counts.difference, "low": low, "high": high, "p_holm": test.p}
    return {"row": name, "against": against, **values, "better": judged}
