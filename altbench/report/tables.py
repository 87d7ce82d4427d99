"""All tables of a run: made from its records, written in three formats, summarised for the terminal."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from altbench.report.costs import (
    MEGABYTES,
    MILLISECONDS,
    SETTING,
    latency_table,
    measures_frame,
    memory_table,
    ratios_table,
)
from altbench.report.success import ROW, conditions_block, failures_table, ood_table, success_table
from altbench.report.table import Block, Table, percentage, significant, write_table
from altbench.rollout.records import NOT_COUNTED, MeasureRecord
from altbench.stats.rates import split_order
from altbench.sweeps.spec import CLEAN
from altbench.system.fingerprint import Fingerprint

__all__ = [
    "Block",
    "Table",
    "all_tables",
    "failures_table",
    "latency_table",
    "memory_table",
    "ood_table",
    "ratios_table",
    "render_costs",
    "render_terminal",
    "success_table",
    "write_table",
    "write_tables",
]


def all_tables(frame: pd.DataFrame, measures: Sequence[MeasureRecord]) -> dict[str, Table]:
    """File stem -> table, from `results.load_episodes` and `results.load_measures`; empty tables are left out."""
    success = success_table(frame)
    tables = {
        "success": dataclasses.replace(success, note=" ".join(filter(None, (success.note, _trained(measures))))),
        "ood": ood_table(frame),
        "failures": failures_table(frame),
        "latency": latency_table(measures),
        "memory": memory_table(measures),
        "ratios": ratios_table(measures),
    }
    return {stem: table for stem, table in tables.items() if len(table.data)}


def _trained(measures: Sequence[MeasureRecord]) -> str:
    """Return a sentence on where the measured checkpoints were trained; empty if that is not known of any.

    Success depends on it: other processors round otherwise, and training carries that on.
    """
    where = sorted(
        {f"{m.trained_on}, {m.precision}" if m.precision else m.trained_on for m in measures if m.trained_on}
    )
    return f"Checkpoints were trained on: {'; '.join(where)}." if where else ""


def write_tables(
    frame: pd.DataFrame, measures: Sequence[MeasureRecord], folder: Path, fingerprint: Fingerprint
) -> list[Path]:
    """Write every table of the run into `folder`."""
    tables = all_tables(frame, measures)
    return [path for stem, table in tables.items() for path in write_table(table, folder, stem, fingerprint)]


def render_terminal(frame: pd.DataFrame, measures: Sequence[MeasureRecord]) -> Group:
    """The main tables for a terminal of 100 columns: success, decision time and memory; perturbed success; ratios."""
    success = success_table(frame)
    parts = [_main(success.data, measures), *_perturbed(success.data), *_ratios(measures)]
    errors = int((~frame["status"].isin(["ok", *NOT_COUNTED])).sum())
    if errors:
        note = (
            f"{errors} episode{'s' if errors > 1 else ''} failed by an error, not by the task: see the failures table"
        )
        return Group(*parts, Text(note, "yellow"))
    return Group(*parts)


def render_costs(measures: Sequence[MeasureRecord]) -> Group:
    """Decision time, memory and their ratios to the diffusion policy's, for the terminal."""
    tables = [latency_table(measures), memory_table(measures)]
    parts = [_narrow(block, table.title, table.note) for table in tables for block in table.blocks]
    return Group(*parts, *_ratios(measures))


def _main(data: pd.DataFrame, measures: Sequence[MeasureRecord]) -> RichTable:
    """Success by split, with the cost of a decision beside it."""
    clean = data[data["perturbation"] == CLEAN].sort_values("split", kind="stable", key=split_order)
    counts = zip(clean["successes"], clean["episodes"], clean["rate"], strict=True)
    cells = [f"{k}/{n} {percentage(rate):>3} %" if n else "" for k, n, rate in counts]
    block = conditions_block("", clean.assign(cell=cells), list(clean["split"]))
    costs = measures_frame(measures)
    label, n = block.names - 2, block.names - 1
    tasks = [row[0] if block.names == 3 else None for row in block.rows]
    wider = Block(
        block.caption,
        (*block.header, "ms", "MB"),
        tuple(
            (*row, *_cost_texts(costs, row[label], row[n], task)) for row, task in zip(block.rows, tasks, strict=True)
        ),
        block.best,
        block.names,
    )
    title = f"Success on {', '.join(sorted(set(clean['task'])))} by split, and one decision at batch 1"
    return _rich(wider, title, "ms: median; MB: weights + table; empty: not measured; intervals: success.md")


def _cost_texts(costs: pd.DataFrame, label: str, n: str, task: str | None) -> tuple[str, str]:
    """Milliseconds and MB of a policy at N on `task` (None: there is one only), empty where they were not measured."""
    own = costs[(costs["label"] == label) & (costs["n"].astype(str) == n)]
    own = own if task is None else own[own["task"] == task]
    if own.empty:
        return "", ""
    first = own.iloc[0]
    held = first["weights_and_table_bytes"]
    return (
        significant(first["latency_p50_s"] * MILLISECONDS),
        "" if pd.isna(held) else significant(float(held) * MEGABYTES),
    )


def _perturbed(data: pd.DataFrame) -> list[RichTable]:
    """One table per split: a column per perturbation, whose cells list the rates by severity."""
    tables = []
    for split, part in data[data["perturbation"] != CLEAN].groupby("split"):
        rows = []
        for key, group in part.sort_values("severity").groupby([*ROW, "perturbation"]):
            head = f"{str(key[-1]).replace('_', ' ')} {'·'.join(map(str, group['severity']))}"
            rates = ["" if pd.isna(rate) else percentage(rate) for rate in group["rate"]]
            rows.append((*key, head, "·".join(rates)))
        merged = pd.DataFrame(rows, columns=[*ROW, "perturbation", "head", "cell"]).sort_values("perturbation")
        counts = sorted(set(part["episodes"]))
        each = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        title = f"Success in % on {split} by perturbation and severity ({each} episodes a cell)"
        tables.append(_rich(conditions_block("", merged, list(merged["head"])), title))
    return tables


def _ratios(measures: Sequence[MeasureRecord]) -> list[RichTable]:
    table = ratios_table(measures)
    block = table.blocks[0]
    return [_narrow(block, block.caption, table.note)] if block.rows else []


def _narrow(block: Block, title: str, note: str) -> RichTable:
    """A table without the settings that are the same in every row, which go into the title, and without empty columns."""
    settings = range(2, len(SETTING) + 1)
    values = [{row[i] for row in block.rows} for i in range(len(block.header))]
    same = [i for i, found in enumerate(values) if (i in settings and len(found) == 1) or found == {""}]
    kept = [i for i in range(len(block.header)) if i not in same]
    left = Block(
        block.caption,
        tuple(block.header[i] for i in kept),
        tuple(tuple(row[i] for i in kept) for row in block.rows),
        names=sum(i < block.names for i in kept),
    )
    constant = "; ".join(f"{block.header[i]} {block.rows[0][i]}" for i in same if block.rows[0][i])
    return _rich(left, f"{title} ({constant})" if constant else title, note)


def _rich(block: Block, title: str, caption: str = "") -> RichTable:
    table = RichTable(
        title=Text(title), caption=Text(caption) if caption else None, title_justify="left", caption_justify="left"
    )
    for i, head in enumerate(block.header):
        table.add_column(Text(head), justify="left" if i < block.names else "right")
    for i, row in enumerate(block.rows):
        table.add_row(*(Text(cell, "bold" if (i, j) in block.best else "") for j, cell in enumerate(row)))
    return table
