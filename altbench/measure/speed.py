"""`altbench bench rollout`: episodes per second of two loops, side by side on one core.

One is the stock robosuite loop, the other is altbench's.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from altbench.core import registry
from altbench.measure.loops import (
    ACTION_HORIZON,
    IMAGE_SIZE,
    OBS_HORIZON,
    STEPS,
    Loop,
    Measured,
    Observed,
    Played,
    Shares,
    measure,
)
from altbench.report.table import Block, Table, significant, write_table
from altbench.system import fingerprint
from altbench.system.console import say, spinner
from altbench.system.console import show as print_all


def rollout(console: Console, task: str, episodes: int, out: Path | None) -> None:
    """Measure `episodes` of each kind; print the table, also write it into `out`."""
    registry.check_name("task", task)
    with spinner(console, f"{task}: {episodes + 1} rounds of four episodes; the slowest takes 10 to 25 s"):
        measured = measure(task, episodes)
    made_by, table = fingerprint.collect(renderer=measured.renderer), rollout_table(measured)
    show(console, table)
    say(console, made_by.one_line(), style="dim")
    if out is not None:
        write_table(table, out, "rollout", made_by)
        say(console, f"tables in {out}", wrap=False)


def show(console: Console, table: Table) -> None:
    """Print `table` to the terminal."""
    for block in table.blocks:
        print_all(console, block.to_rich(f"{table.title}: {block.caption}"))
    say(console, table.note, style="dim")


def rollout_table(measured: Measured) -> Table:
    """Return the table of all kinds of episodes, and where altbench's time goes.

    For each kind: median seconds, episodes per second, and the stock loop's time over
    ours.
    """
    rows = [_row(measured, loop, observed) for observed in ("images", "state") for loop in ("robosuite", "altbench")]
    heads = {
        "observed": "observed",
        "loop": "loop",
        "episode_s": "s",
        "episodes_per_s": "per s",
        "step_ms": "step ms",
        "ratio": "× stock",
        "rounds": "rounds",
        "cpu_ratio": "CPU ×",
    }
    shown = [{**row, "rounds": f"{row['ratio_low']:.1f}–{row['ratio_high']:.1f}"} for row in rows]
    caption = f"{measured.task}, {rows[0]['episodes']} episodes of {STEPS} control steps, one core"
    timing = Block(caption, tuple(heads.values()), _texts(shown, heads))
    parts = {"observed": "observed", "physics": "physics", "controller": "controller"}
    parts |= {"rendering": "rendering", "rest": "the rest"}
    shares = Block("Where our time goes", tuple(parts.values()), _share_texts(measured.shares), names=1)
    note = (
        f"Medians; {OBS_HORIZON} observations per {ACTION_HORIZON} actions. Stock: hard resets, two {IMAGE_SIZE[0]}×"
        f"{IMAGE_SIZE[1]} cameras every step, robosuite's defaults. Rounds: least and most over rounds of one episode each. "
        "CPU: processor time; the shares are parts of it. "
        "Controller: all of a control step but MuJoCo's."
    )
    return Table("Rollouts", pd.DataFrame(rows), (timing, shares), note)


def _row(measured: Measured, loop: Loop, observed: Observed) -> dict[str, Any]:
    played, stock = (_of(measured, which, observed) for which in (loop, "robosuite"))
    episode, reset = (statistics.median(getattr(p, name) for p in played) for name in ("wall_s", "reset_s"))
    rounds = [theirs.wall_s / ours.wall_s for theirs, ours in zip(stock, played, strict=True)]
    shares = next((s for s in measured.shares if s.observed == observed and loop == "altbench"), None)
    return {
        "task": measured.task,
        "observed": observed,
        "loop": loop,
        "episodes": len(played),
        "steps": played[0].steps,
        "episode_s": episode,
        "cpu_s": statistics.median(p.cpu_s for p in played),
        "episodes_per_s": 1 / episode,
        "reset_s": reset,
        "step_ms": 1e3 * statistics.median((p.wall_s - p.reset_s) / p.steps for p in played),
        "ratio": statistics.median(p.wall_s for p in stock) / episode,
        "cpu_ratio": statistics.median(p.cpu_s for p in stock) / statistics.median(p.cpu_s for p in played),
        "ratio_low": min(rounds),
        "ratio_high": max(rounds),
        **{f"share_{name}": getattr(shares, name, None) for name in ("physics", "controller", "rendering", "rest")},
    }


def _of(measured: Measured, loop: str, observed: str) -> list[Played]:
    return [p for p in measured.episodes if (p.loop, p.observed) == (loop, observed)]


def _texts(rows: Sequence[dict[str, Any]], heads: dict[str, str]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(significant(v) if isinstance(v := row[h], float) else str(v) for h in heads) for row in rows)


def _share_texts(shares: Sequence[Shares]) -> tuple[tuple[str, ...], ...]:
    return tuple((s.observed, *(f"{100 * part:.0f} %" for part in dataclasses.astuple(s)[1:])) for s in shares)
