"""Rows compared with one row on the same episodes: differences, intervals, exact tests."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from altbench.experiments.shared.texts import frame_table
from altbench.report.success import SIGNIFICANT, TEST
from altbench.report.table import Table
from altbench.stats.paired import (
    PairedCounts,
    PairedTest,
    paired_counts,
    paired_difference_interval,
    paired_effect,
    paired_tests,
)
from altbench.stats.rates import RANKED_FROM, missing

PAIR = ("train_seed", "seed", "episode")
"""Columns that name the same episode in two groups."""
COLUMNS = ["row", "against", "pairs", "difference", "low", "high", "p_holm", "better"]


def paired_table(title: str, groups: Mapping[str, pd.DataFrame], against: str, names: str, what: str) -> Table:
    """Tabulate the success of each of `groups` minus that of the group `against`.

    `groups`: name -> episodes. Intervals are Newcombe's, of the effective number of
    pairs (pairs that begin from one pose are a cluster); `better` in the data:
    significantly so, by `stats.paired_tests` over the table and on at least 50
    episodes, all of them there. No rows if `against` has no episodes. `what`: the episodes, in words.
    """
    base = groups.get(against, pd.DataFrame())
    counts = {name: _counts(base, group) for name, group in groups.items() if name != against}
    # Newcombe's intervals hold for one training seed: all experiments that compare here
    # have one.
    shared = {name: found for name, found in counts.items() if found is not None}
    tests = paired_tests(base, [groups[name] for name in shared])
    complete = {name: not missing(base) and not missing(groups[name]) for name in shared}
    effects = [paired_effect(groups[name], base, PAIR[:1]) for name in shared]
    rows = [
        _difference(name, against, shared[name], test, effect, complete[name])
        for name, test, effect in zip(shared, tests, effects, strict=True)
    ]
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
    note = (
        f"{what}; 95 % intervals over initial poses; {TEST}, Holm-corrected over this table; fewer than {RANKED_FROM}"
        " pairs are not judged."
    )
    return frame_table(title, data, texts, note)


def better(table: Table) -> list[str]:
    """Return the rows of a `paired_table` that are significantly better."""
    return list(table.data.loc[table.data["better"].astype(bool), "row"])


def _counts(first: pd.DataFrame, second: pd.DataFrame) -> PairedCounts | None:
    """Count the outcomes of the episodes that both played; None without such episodes."""
    found = paired_counts(first, second, PAIR) if len(first) and len(second) else None
    return found if found is not None and found.total else None


def _difference(
    name: str, against: str, counts: PairedCounts, test: PairedTest, effect: float, complete: bool
) -> dict[str, str | float | bool]:
    low, high = paired_difference_interval(counts, effect=effect)
    judged = complete and test.pairs >= RANKED_FROM and test.p < SIGNIFICANT and counts.difference > 0
    values = {"pairs": counts.total, "difference": counts.difference, "low": low, "high": high, "p_holm": test.p}
    return {"row": name, "against": against, **values, "better": judged}
