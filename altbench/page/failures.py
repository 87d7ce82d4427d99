"""Section 5: failed episodes, clustered by how they failed.

An episode that a policy's error ended is of the kind that its status names. A lookup
policy's failures on unperturbed `recall` are those of `stats.taxonomy`. Others have the
phase in which they ended, if the run's cells are there: it follows from the gripper's
commands and the opening of its fingers. Without cells only the length is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from altbench.core.errors import ResultsError
from altbench.core.types import AGENT_POS_DIM, Float64
from altbench.page.charts import Chart, Mark, Text, linear
from altbench.page.conditions import Row
from altbench.page.films import strip_of
from altbench.page.provenance import command
from altbench.page.records import RunRecords, task_info
from altbench.report.lookups import failure_kinds
from altbench.report.success import ROW
from altbench.results.cells import cell_path, read_table
from altbench.stats.rates import countable, succeeded

HELD_M = 0.003
"""m: closed fingers that are farther apart hold something."""
STILL_M, STILL_STEPS = 0.001, 3
"""Closing fingers that move by less than this (m) over so many control steps hold something, or have met.

Free fingers close by about 0.007 m a step.
"""
MOST_CELLS = 1500
"""Of a run with more cells, phases are not looked up."""
EXAMPLES = 3
"""How many episodes of a cluster have a command and a film strip."""
HORIZON, EARLY = "ran out of time", "ended before the horizon"
NEVER, NOTHING = "never closed the gripper", "closed the gripper on nothing"
LOST, HOLDING = "grasped something and lost it", "held something to the end"
MEANINGS = {
    HORIZON: "The episode reached its last step; the folder has no cells, so that nothing more is known.",
    EARLY: "The episode ended before its last step without success.",
    NEVER: "The gripper was never told to close.",
    NOTHING: "The gripper closed, and its fingers met.",
    LOST: "The fingers held something for a while, and not at the end.",
    HOLDING: "At the end the fingers held something; the goal was not reached.",
    "first lookup wrong": "The first frame that was looked up is of another demonstration.",
    "jump": "A later lookup went to another demonstration.",
    "deadlock": "Four decisions in a row looked up nearly the same frame.",
    "right but failed": "The right demonstration was looked up throughout, and the episode failed.",
    "policy_error": "The policy raised an error or gave a bad action.",
    "policy_timeout": "A decision took too long.",
    "policy_crash": "The worker process died while the policy was asked.",
    "given_up": "Not played, since the policy had failed too often in a row.",
    "sim_diverged": "The simulation diverged.",
}


@dataclass(frozen=True)
class Example:
    """A failed episode: the command that films it, and frames of its film if there is one."""

    cell: str
    episode: int
    command: str
    strip: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class Cluster:
    """Episodes of a task that failed alike."""

    task: str
    kind: str
    meaning: str
    count: int
    steps: int
    rows: tuple[tuple[Row, int], ...]
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class FailureSection:
    """The fifth section: clusters, final positions by task, and each episode's kind.

    `kinds`: (cell's key, episode) -> kind, of failed episodes.
    """

    clusters: tuple[Cluster, ...]
    maps: tuple[Chart, ...]
    kinds: Mapping[tuple[str, int], str]
    failed: int
    can_film: bool


@dataclass(frozen=True)
class Ending:
    """How an episode ended: the phase, and the first arm's grip site (m, world)."""

    phase: str
    x: float
    y: float


def failures(run: RunRecords) -> FailureSection:
    """Return the fifth section's contents."""
    counted = countable(run.episodes)
    failed = counted[~succeeded(counted)]
    endings = _endings(run, failed)
    looked_up = _lookups(run)
    kinds = {
        (key, episode): _kind(status, looked_up.get((key, episode)), endings.get((key, episode)), steps, task)
        for key, episode, status, steps, task in _columns(failed, "key", "episode", "status", "steps", "task")
    }
    can_film = run.can_replay
    clusters = tuple(_clusters(run, failed, kinds, can_film))
    return FailureSection(clusters, tuple(_maps(run, failed, endings)), kinds, len(failed), can_film)


def _columns(frame: pd.DataFrame, *names: str) -> Iterator[tuple[Any, ...]]:
    return zip(*(frame[name].tolist() for name in names), strict=True)


def _lookups(run: RunRecords) -> Mapping[tuple[str, int], str]:
    if run.sweep is None or run.decisions.empty:
        return {}
    return failure_kinds(run.episodes, run.decisions, run.sweep.demonstrations)


def _kind(status: str, looked_up: str | None, ending: Ending | None, steps: int, task: str) -> str:
    if status != "ok":
        return status
    if looked_up or ending:
        return looked_up or (ending.phase if ending else "")
    info = task_info(task)
    return EARLY if info and steps < info.horizon else HORIZON


# ------------------------------------------------------------------------------------------------------------ endings


def _endings(run: RunRecords, failed: pd.DataFrame) -> dict[tuple[str, int], Ending]:
    """Return how each failed episode ended, as far as the run's cells tell."""
    keys = sorted(set(failed["key"]))
    found: dict[tuple[str, int], Ending] = {}
    if not (run.root / "cells").is_dir() or len(keys) > MOST_CELLS:
        return found
    for key, group in failed.groupby("key"):
        info = task_info(str(group["task"].iloc[0]))
        try:
            table = read_table(cell_path(run.root, str(key)))[1] if info else None
        except ResultsError:  # a published run, or a damaged cell, which the run makes anew
            continue
        if info and table is not None:
            wanted = set(map(int, group["episode"]))
            found |= {(str(key), e): end for e, end in _cell_endings(table, wanted, info.arms)}
    return found


def _cell_endings(table: Any, wanted: set[int], arms: int) -> Iterator[tuple[int, Ending]]:
    steps = table["trajectory"].combine_chunks()
    offsets = steps.offsets.to_numpy()
    flat = steps.flatten()
    actions, positions = (_matrix(flat.field(name), len(flat)) for name in ("action", "agent_pos"))
    if positions.shape[1] != arms * AGENT_POS_DIM:  # a task that is built otherwise: no fingers to look at
        return
    for i, episode in enumerate(table["episode"].to_pylist()):
        start, end = offsets[i] - offsets[0], offsets[i + 1] - offsets[0]
        if episode in wanted and end > start:
            yield int(episode), ending(actions[start:end], positions[start:end], arms)


def _matrix(column: Any, rows: int) -> Float64:
    values: Float64 = column.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    return values.reshape(rows, -1) if rows else values.reshape(0, 1)


def ending(actions: Float64, positions: Float64, arms: int = 1) -> Ending:
    """Return how an episode ended, from its actions (T, Da) and `agent_pos` (T, Dp)."""
    width = actions.shape[1] // arms
    phases = []
    for arm in range(arms):
        closed = actions[:, (arm + 1) * width - 1] > 0
        fingers = positions[:, (arm + 1) * AGENT_POS_DIM - 2 : (arm + 1) * AGENT_POS_DIM]
        phases.append(_phase(closed, np.abs(fingers[:, 0] - fingers[:, 1])))
    best = max(phases, key=(NEVER, NOTHING, LOST, HOLDING).index)
    return Ending(best, float(positions[-1, 0]), float(positions[-1, 1]))


def _phase(closed: Any, opening: Float64) -> str:
    if not closed.any():
        return NEVER
    steps = min(STILL_STEPS, len(closed) - 1)
    told = np.convolve(closed, np.ones(steps + 1), "full")[: len(closed)] > steps
    before = np.concatenate([np.full(steps, np.inf), opening[: len(opening) - steps]])
    held = told & (np.abs(before - opening) < STILL_M) & (opening > HELD_M)
    if not held.any():
        return NOTHING
    return HOLDING if held[-1] else LOST


# ----------------------------------------------------------------------------------------------------------- clusters


def _clusters(
    run: RunRecords, failed: pd.DataFrame, kinds: Mapping[tuple[str, int], str], can_film: bool
) -> Iterator[Cluster]:
    """Yield the clusters, by task, the largest first."""
    named = failed.assign(kind=[kinds[one] for one in _columns(failed, "key", "episode")])
    rows = {row.key: row for row in run.rows}
    for task in run.tasks:
        own = named[named["task"] == task]
        for kind, count in sorted(Counter(own["kind"]).items(), key=lambda pair: (-pair[1], pair[0])):
            group = own[own["kind"] == kind]
            by_row = [(rows[tuple(key)], len(part)) for key, part in group.groupby(ROW)]
            by_row.sort(key=lambda pair: (-pair[1], pair[0].number))
            examples = tuple(_examples(run, group, can_film))
            meaning = MEANINGS.get(str(kind), "")
            yield Cluster(task, str(kind), meaning, count, int(group["steps"].median()), tuple(by_row), examples)


def _examples(run: RunRecords, group: pd.DataFrame, can_film: bool) -> Iterator[Example]:
    """Yield some of a cluster's episodes: those with a film first, then the lowest numbers.

    They are of different cells, as far as there are any.
    """
    order = group.assign(filmed=[name not in run.films for name in group["name"]])
    order = order.sort_values(["filmed", "episode", "name"], kind="stable")
    chosen = pd.concat([order.drop_duplicates("name"), order[order.duplicated("name")]]).head(EXAMPLES)
    for name, episode, message in _columns(chosen, "name", "episode", "message"):
        words = ("video", name, "--run", run.shown_root, "--episodes", str(int(episode) + 1))
        yield Example(
            str(name),
            int(episode),
            command(*words) if can_film else "",
            strip_of(run, str(name), int(episode)),
            message,
        )


def _maps(run: RunRecords, failed: pd.DataFrame, endings: Mapping[tuple[str, int], Ending]) -> Iterator[Chart]:
    """Yield a chart for each task: where the gripper was when an episode failed, from above."""
    if not endings:
        return
    rows = {row.key: row for row in run.rows}
    for task in run.tasks:
        own = failed[failed["task"] == task]
        columns = _columns(own, "key", "episode", "name", *ROW)
        found = [(rows[tuple(key)], name, endings[k, e]) for k, e, name, *key in columns if (k, e) in endings]
        if len(found) > 1:
            yield _map(task, found)


def _map(task: str, found: Sequence[tuple[Row, str, Ending]]) -> Chart:
    chart = Chart(
        f"{task}: gripper at the end, from above", "y (m), left of the robot", "x (m), away", width=420, height=340
    )
    xs, ys = [one.x for *_, one in found], [one.y for *_, one in found]
    # One scale for both axes, since this is a map.
    half = max(max(xs) - min(xs), max(ys) - min(ys), 0.02) * 0.55
    middle = (min(ys) + max(ys)) / 2, (min(xs) + max(xs)) / 2
    wide = half * (chart.right - chart.left) / (chart.bottom - chart.top)
    across = linear(middle[0] + wide, middle[0] - wide, chart.left, chart.right)
    up = linear(middle[1] - half, middle[1] + half, chart.bottom, chart.top)
    chart.x_ticks = [Text(across(v), chart.bottom + 15, f"{v:.2f}".replace("-", "−")) for v in _thirds(middle[0], wide)]
    chart.y_ticks = [Text(chart.left - 6, up(v), f"{v:.2f}".replace("-", "−"), "end") for v in _thirds(middle[1], half)]
    for row, name, one in found[:1500]:
        title = f"{row.title}, {name.split('/', 4)[-1]}: {one.phase}"
        chart.marks.append(Mark(across(one.y), up(one.x), row.style, title, small=True))
    return chart


def _thirds(middle: float, half: float) -> tuple[float, float, float]:
    return middle - 0.8 * half, middle, middle + 0.8 * half
