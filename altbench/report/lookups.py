"""The table of how lookup policies fail where they were shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from altbench.core import registry
from altbench.dataset.subsets import collected_order
from altbench.report.privileged import marked
from altbench.report.table import Block, Table
from altbench.stats.parts import Episodes, chosen, parts_of
from altbench.stats.rates import countable, succeeded
from altbench.stats.taxonomy import KINDS, STUCK_DECISIONS, STUCK_FRAMES, Lookups, Taxonomy, count
from altbench.sweeps.spec import CLEAN, DemonstrationEntry

Decisions = pd.DataFrame | Callable[[set[str]], pd.DataFrame]
"""Decisions as a frame, or keys of cells -> their decisions."""
SPLIT = "recall"
ROW = ["task", "label", "policy", "preset", "n", "train_seed"]
COUNTS = ("episodes", "solved", "right", "right_solved", "wrong_solved")
NOTE = (
    "Unperturbed `recall` episodes of policies that tell what they retrieve. The demonstration that an episode began from"
    " follows from its number. A failure counts under the first kind that applies: its first lookup is of another"
    " demonstration; it jumps to another one later; it deadlocks"
    f" ({STUCK_DECISIONS} decisions in a row retrieve one demonstration within ±{STUCK_FRAMES} frames); it looks up the"
    " right one throughout, moves on, and fails. Deadlocks: all failures that hold one, of whatever kind. Counts are of"
    " one checkpoint."
)


def lookups_table(episodes: Episodes, decisions: Decisions, shown: DemonstrationEntry) -> Table:
    """Return the failures of lookup policies by kind, a row per policy, task and N.

    `episodes`, `decisions`: as `results.load_episodes` and `results.load_decisions` return
    them; or parts of the former, and keys -> the decisions of these cells. The column
    `collected` of the episodes (`results.collected`) says how many demonstrations the
    file holds, without it `shown`, the sweep's demonstrations. Empty
    unless these are on the grid, which alone tells an episode's own demonstration by its
    number.
    """
    rows: list[dict[str, Any]] = []
    if shown.file is None and shown.placement == "grid":
        for part in parts_of(chosen(episodes, split=SPLIT, perturbation=CLEAN)):
            rows += _rows(countable(part), decisions, shown.n)
    rows.sort(key=lambda row: tuple(row[name] for name in ROW))
    return Table("How lookups fail", pd.DataFrame(rows), (_block(rows),), NOTE)


def _rows(own: pd.DataFrame, decisions: Decisions, collected: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table that the episodes of a part make."""
    keys = set(own["key"])
    told = decisions(keys) if callable(decisions) else decisions[decisions["key"].isin(keys)]
    for key, group in own.groupby(ROW, sort=True):
        found = list(_episodes(group, told[told["key"].isin(set(group["key"]))], collected))
        if found:
            yield dict(zip(ROW, key, strict=True)) | _row(count(found))


def failure_kinds(
    frame: pd.DataFrame, decisions: pd.DataFrame, shown: DemonstrationEntry
) -> dict[tuple[str, int], str]:
    """Return (cell's key, episode) -> kind of the failed episodes that `lookups_table` counts."""
    found: dict[tuple[str, int], str] = {}
    if shown.file is None and shown.placement == "grid":
        own = countable(frame[(frame["split"] == SPLIT) & (frame["perturbation"] == CLEAN)])
        for _, group in own.groupby(ROW, sort=True):
            named = _named(group, decisions[decisions["key"].isin(set(group["key"]))], shown.n)
            found |= {name: one.failure for name, one in named if one.failure}
    return found


def _episodes(group: pd.DataFrame, decisions: pd.DataFrame, collected: int) -> Iterator[Lookups]:
    """Yield the lookups of each episode that has any."""
    yield from (lookups for _, lookups in _named(group, decisions, collected))


def _named(group: pd.DataFrame, decisions: pd.DataFrame, collected: int) -> Iterator[tuple[tuple[str, int], Lookups]]:
    """Yield key and number of each episode with lookups, and its lookups."""
    order = _demonstrations(group.iloc[0], collected)
    firsts = {
        (key, episode): tuple((int(m[0][0]), int(m[0][1])) for m in part.sort_values("step")["matches"] if len(m))
        for (key, episode), part in decisions.groupby(["key", "episode"])
    }
    for key, episode, won in zip(group["key"], group["episode"], succeeded(group), strict=True):
        if firsts.get((key, episode)):
            yield (str(key), int(episode)), Lookups(order[episode % len(order)], firsts[key, episode], bool(won))


def _demonstrations(row: pd.Series[Any], collected: int) -> tuple[int, ...]:
    """Return the numbers of the demonstrations in the order in which episodes take them."""
    size, seed = registry.task(row["task"]).grid_size, int(json.loads(row["spec_json"]).get("seed", 0))
    n = int(row["n"])
    return collected_order(n, max(n, int(row.get("collected", collected))), size, seed)


def _row(found: Taxonomy) -> dict[str, Any]:
    counts = {name: getattr(found, name) for name in COUNTS}
    kinds = {kind.replace(" ", "_"): found.failures[kind] for kind in KINDS}
    return {**counts, **kinds, "deadlocks": found.deadlocks, "deadlocked_successes": found.deadlocked_successes}


def _block(rows: list[dict[str, Any]]) -> Block:
    names = ["task", "label", "n", *(["train_seed"] if len({row["train_seed"] for row in rows}) > 1 else [])]
    heads = {"label": "policy", "n": "N", "train_seed": "training seed"}
    header = (
        *(heads.get(name, name) for name in names),
        *("solved", "first lookup right", "solved when right", "when wrong", *KINDS, "deadlocks"),
    )
    shown = [row | {"label": marked(row["label"], row["policy"])} for row in rows]
    texts = tuple((*(str(row[name]) for name in names), *_texts(row)) for row in shown)
    return Block("Failures of lookups on recall, by the first kind that applies", header, texts, names=len(names))


def _texts(row: dict[str, Any]) -> tuple[str, ...]:
    wrong, failed = row["episodes"] - row["right"], row["episodes"] - row["solved"]
    return (
        f"{row['solved']}/{row['episodes']}",
        f"{row['right']}/{row['episodes']}",
        f"{row['right_solved']}/{row['right']}",
        f"{row['wrong_solved']}/{wrong}",
        *(str(row[kind.replace(" ", "_")]) for kind in KINDS),
        f"{row['deadlocks']}/{failed}",
    )
