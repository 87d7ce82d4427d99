"""Pairs of episodes of two runs, and the episodes that have no partner."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd

from altbench.core.errors import ResultsError
from altbench.report.compare.records import FlagChange, LostEpisodes, PairedResult, StatusChange
from altbench.rollout.records import MISSING, NOT_COUNTED
from altbench.stats.clustering import initial_poses
from altbench.stats.rates import succeeded

EPISODE = ["name", "seed", "episode"]
"""The columns that identify an episode in both runs."""
_CELL = ["name", "task", "label", "split", "checkpoint_key"]
_POSE = ["n", "spec_json", "collected"]
"""What an episode's initial pose depends on besides, as far as it is recorded."""


def outer_pairs(base: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Return one row per episode of either run, in the cells that both have.

    Columns: `EPISODE`; the cell's header; and of each run, with the suffixes `_base`
    and `_new`: `there`, `counts`, `won`, `status`, `flagged`. A missing episode has the
    status "missing".
    """
    shared = set(base["name"]) & set(new["name"])
    heads = base.drop_duplicates("name")[[*_CELL, *(name for name in _POSE if name in base)]]
    sides = [_side(frame[frame["name"].isin(shared)], which) for frame, which in ((base, "base"), (new, "new"))]
    found = sides[0].merge(sides[1], on=EPISODE, how="outer")
    for which in ("base", "new"):
        found[f"status_{which}"] = found[f"status_{which}"].fillna("missing")
        for name in ("there", "counts", "won"):
            found[f"{name}_{which}"] = found[f"{name}_{which}"].eq(True)
    return found.merge(heads, on="name", how="left")


def counted(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs that count in both runs, with what the tests need.

    Added columns: `change`, new success minus base success; `unbroken_base` and
    `unbroken_new`, whether the policy made no error; `pose`, the number of the initial
    pose (`clustering.initial_poses`); `fit`, that of pose and checkpoint.
    """
    found = pairs[pairs["counts_base"] & pairs["counts_new"]].reset_index(drop=True)
    pose = initial_poses(found)
    return found.assign(
        pose=pose,
        fit=found.assign(pose=pose).groupby(["pose", "checkpoint_key"]).ngroup(),
        change=found["won_new"].to_numpy(np.int64) - found["won_base"].to_numpy(np.int64),
        unbroken_base=found["status_base"] == "ok",
        unbroken_new=found["status_new"] == "ok",
    )


def unplayed(pairs: pd.DataFrame, which: str) -> pd.Series[bool]:
    """Return which episodes one of the runs ("base" or "new") lacks or could not play."""
    return pairs[f"status_{which}"].isin(["missing", MISSING])


def with_missing(tests: Iterable[PairedResult], pairs: pd.DataFrame, column: str = "") -> tuple[PairedResult, ...]:
    """Return the tests with how many episodes of their groups either run lacks.

    `column`: what names their groups; empty: each is of all cells.
    """
    lacks = pairs[unplayed(pairs, "base") | unplayed(pairs, "new")]
    if not column:
        return tuple(replace(test, missing=len(lacks)) for test in tests)
    counts = lacks[column].value_counts()
    return tuple(replace(test, missing=int(counts.get(test.name, 0))) for test in tests)


def lost_episodes(pairs: pd.DataFrame) -> tuple[LostEpisodes, ...]:
    """List the episodes that count in the base run alone, by cell and reason."""
    of = pairs.groupby("name")["counts_base"].sum().to_dict()
    gone = pairs[pairs["counts_base"] & ~pairs["counts_new"]]
    return tuple(
        LostEpisodes(str(name), str(reason), tuple(sorted(map(int, group["episode"]))), int(of[name]))
        for (name, reason), group in gone.groupby(["name", "status_new"], sort=False)
    )


def status_changes(pairs: pd.DataFrame) -> tuple[StatusChange, ...]:
    """List the changes of status of the shared episodes, by policy."""
    changed = pairs[pairs["there_base"] & pairs["there_new"] & (pairs["status_base"] != pairs["status_new"])]
    return tuple(
        StatusChange(str(label), str(base), str(new), len(group), int(group["won_base"].sum()))
        for (label, base, new), group in changed.groupby(["label", "status_base", "status_new"])
    )


def flag_changes(pairs: pd.DataFrame) -> tuple[FlagChange, ...]:
    """Count, by policy, the shared episodes in which a flag was raised."""
    known = pairs[pairs["flagged_base"].notna() & pairs["flagged_new"].notna()]
    return tuple(
        FlagChange(str(label), int(group["flagged_base"].sum()), int(group["flagged_new"].sum()), len(group))
        for label, group in known.groupby("label")
    )


def _side(frame: pd.DataFrame, which: str) -> pd.DataFrame:
    twice = frame.duplicated(EPISODE)
    if twice.any():
        row = frame[twice].iloc[0]
        raise ResultsError(
            f"the {which} run has episode {row['episode']} of {row['name']} twice; expected each episode once"
        )
    counts = ~frame["status"].isin(NOT_COUNTED)
    side = frame[EPISODE].assign(
        there=True, counts=counts, won=succeeded(frame) & counts, status=frame["status"], flagged=frame["flagged"]
    )
    return side.rename(columns={name: f"{name}_{which}" for name in side.columns if name not in EPISODE})
