"""What the audits E2 and E5 share: S of recorded cells under several distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from altbench.audit.cases import (
    CASES,
    ORDER,
    AuditedEpisode,
    Case,
    audit_episodes,
    case_of,
    frame_of,
    training_trajectories,
)
from altbench.audit.figures import likeness_frame
from altbench.audit.tables import score
from altbench.core import registry
from altbench.experiments.shared import expert as expert_control
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.texts import prose
from altbench.report.style import Styles, policy_styles
from altbench.report.table import Block, Table
from altbench.stats.scores import bootstrap_mean, summarise
from altbench.stats.trajectories import Source, find_distance


@dataclass(frozen=True)
class Way:
    """A way to compare trajectories: a distance of `stats.trajectories` and a source."""

    title: str
    distance: str
    source: Source


POSITIONS = Way("positions, resampled", "resampled", "positions")
WARPED = Way("positions, time warping", "dtw", "positions")
ACTIONS = Way("actions, resampled", "resampled", "actions")
WAYS = (POSITIONS, WARPED, ACTIONS)

WAYS_NOTE = """
    Resampling compares motions at equal shares of time. An episode that fails runs to
    the horizon, so that its first part is compared with all of a demonstration; S falls
    although the motion may be a demonstration's. Time warping compares shapes alone.
    Actions are the commanded positions.
    """


def audited(run: ExperimentRun, way: Way) -> list[AuditedEpisode]:
    """Audit all recorded cells that belong to a case, and the expert's cells."""
    distance, found, known = find_distance(way.distance), [], {}
    for cell, records in (*((cell, run.records(cell)) for cell in run.recorded), *expert_control.played(run)):
        point = cell.checkpoint
        if case_of(cell) is None:
            continue
        shown = (point.task, point.n)
        if shown not in known:
            demonstrations = run.demonstrations(point)
            known[shown] = training_trajectories(demonstrations, registry.task(point.task), distance, way.source)
        found += audit_episodes(cell, records, known[shown], way.source)
    return found


def frames(run: ExperimentRun, positions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return each way's episodes as a frame of `audit.cases.frame_of`, by title.

    `positions` is the frame of `POSITIONS`, which is not computed again.
    """
    return {way.title: positions if way == POSITIONS else frame_of(audited(run, way)) for way in WAYS}


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


def similarity_table(episodes: Sequence[AuditedEpisode]) -> Table:
    """Return what the figure of similarities shows: in distribution, a CSV alone."""
    own = [one for one in episodes if one.case == CASES[0]]
    note = "Distances to every demonstration of the episodes with the highest and the median S, in distribution."
    return Table("Similarity to each demonstration", likeness_frame(own), (), note)


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
            found, won = summarise(group["s"].to_list()), summarise(group.loc[group["success"], "s"].to_list())
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
    found = summarise(own["s"].to_list())
    return f"{score(found.highest)} (of {found.n}; mean {score(found.mean, 2)})" if found.n else ""


@dataclass(frozen=True)
class Gap:
    """Mean S of `first` minus that of `second` on the `n` episodes that both played.

    `low`, `high`: its 95 % bootstrap interval.
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

    None if fewer than two episodes are paired.
    """
    wide = frame.pivot_table(index=["case", "seed", "episode"], columns="label", values="s")
    if not {first, second} <= set(wide.columns):
        return None
    differences = (wide[first] - wide[second]).dropna().to_numpy(np.float64)
    low, high = bootstrap_mean(differences)
    if low is None or high is None:
        return None
    return Gap(first, second, len(differences), float(differences.mean()), low, high)
