"""The audit's numbers as a table: S by policy, number of demonstrations and case."""

from __future__ import annotations

import pandas as pd

from altbench.audit.cases import CASES, COLUMNS, summary_of
from altbench.report.privileged import marked
from altbench.report.table import Block, Table
from altbench.stats.scores import RESAMPLES
from altbench.stats.trajectories import SOURCES, Distance, Source
from altbench.system.console import FittingTable

ORDER = {case.name: i for i, case in enumerate(CASES)}
GROUP = list(COLUMNS)
SUMMARY = ("scored", "empty", "max", "mean", "low", "high", "lower_quartile", "median", "upper_quartile")


def definition(distance: Distance, source: Source) -> str:
    """Say what S is, precisely enough to compute it by hand."""
    return (
        f"S = 1 - s(r, 1) / s(1, 2): r is the trajectory of a whole episode ({SOURCES[source]}), 1 and 2 are the"
        f" demonstrations nearest and second nearest to it, s is the distance `{distance.name}`: {distance.description};"
        " the positions of two arms stand side by side."
    )


def audit_table(frame: pd.DataFrame, distance: Distance, source: Source) -> Table:
    """Return S by policy × N and case, from `cases.frame_of`: n, extremes, quartiles,
    mean with its interval.
    """
    rows = []
    for key, group in frame.groupby(GROUP, sort=False):
        found = summary_of(group)
        numbers = (found.highest, found.mean, found.low, found.high, found.lower, found.median, found.upper)
        rows.append((*key, found.n, found.empty, *numbers, int(group["success"].sum()), len(group)))
    data = pd.DataFrame(rows, columns=[*GROUP, *SUMMARY, "successes", "episodes"])
    data = data.astype(dict.fromkeys(SUMMARY[2:], "float64"))
    data = data.sort_values("case", key=lambda c: c.map(ORDER), kind="stable").sort_values(
        ["task", "label", "n", "train_seed"], kind="stable"
    )
    data = data.assign(distance=distance.name, trajectory=source)
    note = (
        f"{definition(distance, source)} S is 1 for an exact replay, 0.5 half-way between two demonstrations, negative"
        " where it is farther from the nearer one than the two are from each other. max is what the paper reports;"
        f" the mean has a 95 % percentile bootstrap interval over initial poses ({RESAMPLES:,} resamples, seeded); empty:"
        " episodes without an S, because the two nearest demonstrations coincide or the episode ended in an error"
        " (episodes.csv says which)."
    )
    return Table("Memorisation audit", data, (_block(data),), note)


def _block(data: pd.DataFrame) -> Block:
    names = [name for name in ("task", "label", "n") if name != "task" or data["task"].nunique() > 1]
    names += ["train_seed"] if data["train_seed"].nunique() > 1 else []
    heads = {"label": "policy", "n": "N", "train_seed": "training seed"}
    header = (*(heads.get(name, name) for name in names), "case", "max S", "mean S [95 %]", "quartiles", "n", "empty")
    rows = []
    for row in data.to_dict("records"):
        mean = f"{score(row['mean'])} [{score(row['low'], 2)}, {score(row['high'], 2)}]" if row["scored"] else ""
        quartiles = "·".join(score(row[name], 2) for name in SUMMARY[-3:]) if row["scored"] else ""
        solved = f"{row['successes']}/{row['episodes']}"
        texts = (
            row["case"].replace("_", " "),
            score(row["max"]),
            mean,
            quartiles,
            str(row["scored"]),
            str(row["empty"]),
        )
        row["label"] = marked(row["label"], row["policy"])
        rows.append((*(str(row[name]) for name in names), *texts, solved))
    return Block("S by case", (*header, "successes"), tuple(rows), names=len(names) + 1)


def score(value: float | None, digits: int = 3) -> str:
    """Return S as text, such as `0.935`; empty for a missing one."""
    if value is None or pd.isna(value):
        return ""
    return f"{value:.{digits}f}" if abs(value) < 10 else f"{value:.1f}"


def terminal(table: Table) -> FittingTable:
    """Return the audit's table for a terminal."""
    return table.blocks[0].to_rich(table.title)
