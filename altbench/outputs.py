"""What a run leaves for its reader: flat parquet files, tables, figures, the fingerprint, and the terminal's summary."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from altbench import results
from altbench.plan import Plan, digest
from altbench.records import MeasureRecord
from altbench.store import write_text

STAMP = "outputs.json"


def write(root: Path, plan: Plan, renderer: str) -> None:
    """Write everything under `root` that is made of the plan's finished cells; nothing where nothing is new."""
    keys = finished_keys(root, plan)
    measured = sorted(key for key in _measure_keys(plan) if (root / "measures" / f"{key}.json").is_file())
    stamp = digest({"cells": sorted(keys), "measures": measured, "renderer": renderer})
    path = root / STAMP
    if not keys or (path.is_file() and json.loads(path.read_text()).get("made_of") == stamp):
        return
    from altbench import fingerprint
    from altbench.figures import write_figures
    from altbench.tables import write_tables

    made_by = fingerprint.collect(renderer=renderer, data=_data(plan))
    fingerprint.write_fingerprint(root, made_by)
    results.build_episodes_parquet(root, keys)
    episodes = results.load_episodes(root, keys)
    written = write_tables(episodes, load_measures(root, plan), root / "tables", made_by)
    # In the figure, rows that share a checkpoint would hide each other.
    written += write_figures(episodes, results.load_measures(root, _measure_keys(plan)), root / "figures", made_by)
    names = sorted(str(p.relative_to(root)) for p in written)
    write_text(path, json.dumps({"made_of": stamp, "files": names}, indent=1) + "\n")


def show(root: Path, plan: Plan, console: Console) -> None:
    """Print the main tables."""
    from altbench.tables import render_terminal

    keys = finished_keys(root, plan)
    if keys:
        console.print(render_terminal(results.load_episodes(root, keys), load_measures(root, plan)))
    missing = len(plan.cells) - len(keys)
    if missing:
        console.print(f"[yellow]{missing} of {len(plan.cells)} cells are missing from these tables[/]")


def finished_keys(root: Path, plan: Plan) -> list[str]:
    """Keys of the plan's cells that have been run."""
    return [cell.key for cell in plan.cells if results.is_finished(root, cell.key)]


def load_measures(root: Path, plan: Plan) -> list[MeasureRecord]:
    """The measurements of the plan's checkpoints, once for each row of the tables that shares one."""
    records = []
    for point in plan.checkpoints:
        labels = dict.fromkeys(cell.label for cell in plan.cells if cell.checkpoint == point)
        for record in results.load_measures(root, [point.key]):
            records += [replace(record, label=label) for label in labels]
    return records


def _measure_keys(plan: Plan) -> list[str]:
    return [point.key for point in plan.checkpoints]


def _data(plan: Plan) -> str:
    """The checksum of the largest set of demonstrations of each task."""
    largest = {task: checksum for (task, _), checksum in sorted(plan.data.items())}
    return " ".join(largest.values())
