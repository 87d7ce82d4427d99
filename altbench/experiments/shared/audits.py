"""What the reports of the audits E2 and E5 share: tables of S, and differences of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from altbench.audit.cases import CASES, ORDER, Case, summary_of
from altbench.audit.tables import score
from altbench.experiments.shared.texts import prose
from altbench.report.style import Styles, policy_styles
from altbench.report.table import Block, Table
from altbench.stats.clustering import initial_poses
from altbench.stats.scores import clustered_mean

WAYS_NOTE = """
    Resampling compares motions at equal shares of time. An episode that fails runs to
    the horizon, so that its first part is compared with all of a demonstration; S falls
    although the motion may be a demonstration's. Time warping compares shapes alone.
    Actions are the commanded positions. Intervals are over initial poses.
    """


def episodes_table(frame: pd.DataFrame) -> Table:
    """Return every episode with what its S was computed from.

    The table is a CSV alone, because it is too long to be read.
    """
    return Table(
        "Every episode",
        frame.drop(columns=ORDER),
        (),
        "Every episode: S, its two nearest demonstrations, and the distances.",
    )


def similarity_table(similarity: pd.DataFrame) -> Table:
    """Return what the figure of similarities shows: in distribution, a CSV alone."""
    own = similarity[similarity["case"] == CASES[0].name]
    note = "Distances to every demonstration of the episodes with the highest and the median S, in distribution."
    return Table("Similarity to each demonstration", own.reset_index(drop=True), (), note)


def published_styles(frame: pd.DataFrame) -> Styles:
    """Return how the rows of a table of episodes are drawn."""
    return policy_styles(frame["label"], dict(zip(map(str, frame["label"]), map(str, frame["policy"]), strict=True)))


def ways_table(by_way: dict[str, pd.DataFrame], by: Sequence[str], heads: Sequence[str]) -> Table:
    """Tabulate highest and mean S by the columns `by`, with a column per way.

    The mean over successful episodes stands beside them. `heads`: the names of `by` in
    the table that people read.
    """
    rows: list[dict[str, Any]] = []
    texts: dict[tuple[str, ...], list[str]] = {}
    for title, frame in by_way.items():
        for key, group in frame.groupby(list(by), sort=False):
            found, won = summary_of(group), summary_of(group[group["success"]])
            numbers = {"max": found.highest, "mean": found.mean, "low": found.low, "high": found.high, "n": found.n}
            rows.append({**dict(zip(by, key, strict=True)), "way": title, **numbers, "mean_of_successes": won.mean})
            shown = (str(k).replace("_", " ") if name == "case" else str(k) for name, k in zip(by, key, strict=True))
            texts.setdefault(tuple(shown), []).append(_ways_text(rows[-1]))
    header = (*heads, *(f"{title}: max, mean [95 %], successes' mean" for title in by_way))
    block = Block("S by way of comparing", header, tuple((*k, *t) for k, t in texts.items()), names=len(by))
    return Table("Does the way of comparing matter?", pd.DataFrame(rows), (block,), prose(WAYS_NOTE))


def _ways_text(row: dict[str, Any]) -> str:
    highest, mean, low, high, won = (
        score(row[name], digits)
        for name, digits in (("max", 3), ("mean", 2), ("low", 2), ("high", 2), ("mean_of_successes", 2))
    )
    return f"{highest}, {mean} [{low}, {high}], {won}" if highest else ""


def highest(frame: pd.DataFrame, case: Case | None = None, **where: object) -> str:
    """Return the highest S with its number of episodes and their mean, as text.

    Only rows of `frame` with the values `where` count, and of `case` alone if it is
    given. Empty without episodes.
    """
    own = frame if case is None else frame[frame["case"] == case.name]
    for column, value in where.items():
        own = own[own[column] == value]
    found = summary_of(own)
    return f"{score(found.highest)} (of {found.n}; mean {score(found.mean, 2)})" if found.n else ""


@dataclass(frozen=True)
class Gap:
    """Mean S of `first` minus that of `second` on the `n` episodes that both played.

    `low`, `high`: its 95 % bootstrap interval over initial poses.
    """

    first: str
    second: str
    n: int
    mean: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """The gap as `diffusion - bc: 0.11 [0.04, 0.18] (100 pairs)`."""
        interval = f"[{score(self.low, 2)}, {score(self.high, 2)}]"
        return f"{self.first} - {self.second}: {score(self.mean, 2)} {interval} ({self.n} pairs)"


def paired_gap(frame: pd.DataFrame, first: str, second: str) -> Gap | None:
    """Return the gap of two policies (labels) on the episodes of `frame`.

    None if the paired episodes begin from fewer than two poses.
    """
    own, other = (frame[(frame["label"] == label) & frame["s"].notna()] for label in (first, second))
    if own.empty or other.empty:
        return None
    episode = ["case", "seed", "episode"]  # of several training seeds, the mean
    means = own.assign(pose=initial_poses(own)).groupby(episode).agg({"s": "mean", "pose": "first"})
    pairs = means.join(other.groupby(episode).agg({"s": "mean"}), rsuffix="_other", how="inner")
    differences = (pairs["s"] - pairs["s_other"]).to_numpy(np.float64)
    low, high = clustered_mean(differences, pairs["pose"])
    if low is None or high is None:
        return None
    return Gap(first, second, len(differences), float(differences.mean()), low, high)
