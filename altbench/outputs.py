"""What a run leaves for its reader: flat parquet files, tables, figures, the fingerprint, and the terminal's summary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from altbench import __version__, results
from altbench.keys import digest
from altbench.plan import Plan
from altbench.records import MeasureRecord
from altbench.store import write_text

STAMP = "outputs.json"


def write(root: Path, plan: Plan, renderer: str) -> None:
    """Write everything under `root` that is made of the plan's recorded cells; nothing where nothing is new."""
    keys = recorded_keys(root, plan)
    states = {key: results.is_finished(root, key) for key in keys}
    measured = sorted(m.key for m in plan.measurements if results.measure_path(root, m.key).is_file())
    stamp = digest({"version": __version__, "cells": states, "measured": measured, "renderer": renderer})
    old = _written(root)
    if not keys or (old["made_of"] == stamp and all((root / name).is_file() for name in old["files"])):
        return
    from altbench import fingerprint
    from altbench.figures import write_figures
    from altbench.tables import write_tables

    made_by = fingerprint.collect(renderer=renderer, data=_data(plan))
    fingerprint.write_fingerprint(root, made_by)
    results.build_episodes_parquet(root, keys)
    episodes, measures = results.load_episodes(root, keys), load_measures(root, plan)
    written = write_tables(episodes, measures, root / "tables", made_by)
    written += write_figures(episodes, measures, root / "figures", made_by)
    names = sorted(str(p.relative_to(root)) for p in written)
    for name in set(old["files"]) - set(names):
        (root / name).unlink(missing_ok=True)
    write_text(root / STAMP, json.dumps({"made_of": stamp, "files": names}, indent=1) + "\n")


def _written(root: Path) -> dict[str, Any]:
    """What the last `write` said of itself."""
    try:
        found = json.loads((root / STAMP).read_text())
        return {"made_of": str(found["made_of"]), "files": [str(name) for name in found["files"]]}
    except (OSError, ValueError, KeyError, TypeError):
        return {"made_of": "", "files": []}


def show(root: Path, plan: Plan, console: Console) -> None:
    """Print the main tables, and what is missing from them."""
    from altbench.tables import render_terminal

    keys = recorded_keys(root, plan)
    if keys:
        console.print(render_terminal(results.load_episodes(root, keys), load_measures(root, plan)))
    missing = len(plan.cells) - len(keys)
    if missing:
        console.print(f"[yellow]{missing} of {len(plan.cells)} cells are missing from these tables[/]")


def recorded_keys(root: Path, plan: Plan) -> list[str]:
    """Keys of the plan's cells that have a record; episodes lost to infra_errors are counted in their tables."""
    return [cell.key for cell in plan.cells if results.is_recorded(root, cell.key)]


def load_measures(root: Path, plan: Plan) -> list[MeasureRecord]:
    """The plan's measurements."""
    return results.load_measures(root, [m.key for m in plan.measurements])


def _data(plan: Plan) -> str:
    """The checksum of the largest set of demonstrations of each task."""
    largest = {task: checksum for (task, _), checksum in sorted(plan.data.items())}
    return " ".join(largest.values())
