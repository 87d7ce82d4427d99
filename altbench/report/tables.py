"""All tables of a run: made from its records, written to files, shown in a terminal."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from rich.console import Group
from rich.text import Text

from altbench.report.caveats import caveats, with_caveats
from altbench.report.costs import (
    MEGABYTES,
    MILLISECONDS,
    SETTING,
    latency_table,
    measures_frame,
    memory_table,
    ratios_table,
)
from altbench.report.flags import calibrated_flags_table, ood_table
from altbench.report.privileged import marked
from altbench.report.splits import by_split
from altbench.report.success import ROW, conditions_block, failures_table, success_table
from altbench.report.table import Block, Table, percentage, significant, write_table
from altbench.rollout.records import NOT_COUNTED, MeasureRecord
from altbench.stats.parts import Episodes, parts_of
from altbench.stats.rates import missing
from altbench.sweeps.spec import CLEAN
from altbench.system.console import FittingTable
from altbench.system.fingerprint import Fingerprint


def all_tables(episodes: Episodes, measures: Sequence[MeasureRecord]) -> dict[str, Table]:
    """Return file stem -> table; empty tables are left out.

    `episodes` are those of `results.load_episodes`, or parts of them; `measures` those
    of `results.load_measures`.
    """
    success = success_table(episodes)
    tables = {
        "success": dataclasses.replace(success, note=" ".join(filter(None, (success.note, _trained(measures))))),
        "ood": ood_table(episodes),
        "ood_calibrated": calibrated_flags_table(episodes),
        "failures": failures_table(episodes),
        "latency": latency_table(measures),
        "memory": memory_table(measures),
        "ratios": ratios_table(measures),
    }
    known = caveats(episodes)
    return {stem: with_caveats(table, known) for stem, table in tables.items() if len(table.data)}


def _trained(measures: Sequence[MeasureRecord]) -> str:
    """Return a sentence on where the measured checkpoints were trained; empty if that is not known of any.

    Success depends on it: other processors round otherwise, and training carries that on.
    """
    where = sorted(
        {f"{m.trained_on}, {m.precision}" if m.precision else m.trained_on for m in measures if m.trained_on}
    )
    return f"Checkpoints were trained on: {'; '.join(where)}." if where else ""


def write_tables(
    episodes: Episodes,
    measures: Sequence[MeasureRecord],
    folder: Path,
    fingerprint: Fingerprint,
    more: Mapping[str, Table] | None = None,
) -> list[Path]:
    """Write every table of the run, and `more` by stem, into `folder`; return the files."""
    tables = {**all_tables(episodes, measures), **(more or {})}
    return [path for stem, table in tables.items() for path in write_table(table, folder, stem, fingerprint)]


def render_terminal(episodes: Episodes, measures: Sequence[MeasureRecord]) -> Group:
    """Return the main tables for a terminal of 100 columns.

    They are success with decision time and memory, perturbed success, and the ratios.
    """
    success = success_table(episodes)
    parts = [_main(success.data, measures), *_perturbed(success.data), *_ratios(measures)]
    return Group(*parts, *(Text(note, "yellow") for note in _troubles(episodes)))


def _troubles(episodes: Episodes) -> list[str]:
    """Say in a line each how many episodes failed by an error, and how many are missing."""
    errors = lacks = total = 0
    for part in parts_of(episodes):
        errors += int((~part["status"].isin(["ok", *NOT_COUNTED])).sum())
        lacks, total = lacks + missing(part), total + len(part)
    notes = []
    if errors:
        notes.append(f"{_episodes(errors)} failed by an error, not by the task: see the failures table")
    if lacks:
        notes.append(
            f"{_episodes(lacks)} of {total} could not be played and {'are' if lacks > 1 else 'is'} missing: rates are"
            " of the others, and rows that lack any are not ranked; run the sweep again"
        )
    return notes


def _episodes(count: int) -> str:
    return f"{count} episode{'s' if count > 1 else ''}"


def render_costs(measures: Sequence[MeasureRecord]) -> Group:
    """Return decision time, memory and the ratios of both, for a terminal."""
    tables = [latency_table(measures), memory_table(measures)]
    parts = [_narrow(block, table.title, table.note) for table in tables for block in table.blocks]
    return Group(*parts, *_ratios(measures))


def _main(data: pd.DataFrame, measures: Sequence[MeasureRecord]) -> FittingTable:
    """Return success by split, with the cost of a decision beside it."""
    clean = by_split(data[data["perturbation"] == CLEAN])
    counts = zip(clean["successes"], clean["episodes"], clean["rate"], clean["infra_errors"], strict=True)
    texts = [_short_rate(*numbers) for numbers in counts]
    block = conditions_block("", clean.assign(text=texts), list(clean["split"]))
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
    return wider.to_rich(title, "ms: median; MB: weights + table; empty: not measured; intervals: success.md")


def _short_rate(successes: int, episodes: int, rate: float, missing: int) -> str:
    """Return `36/40  90 %`, and how many episodes more are missing."""
    text = f"{successes}/{episodes} {percentage(rate):>3} %" if episodes else ""
    return ", ".join(filter(None, (text, f"{missing} missing" if missing else "")))


def _cost_texts(costs: pd.DataFrame, label: str, n: str, task: str | None) -> tuple[str, str]:
    """Return milliseconds and MB of a policy at N on `task`; empty if not measured.

    `task` None: the run has only one.
    """
    shown = [marked(*row) for row in zip(costs["label"], costs["policy"], strict=True)]
    own = costs[(pd.Series(shown, costs.index, dtype=object) == label) & (costs["n"].astype(str) == n)]
    own = own if task is None else own[own["task"] == task]
    if own.empty:
        return "", ""
    first = own.iloc[0]
    held = first["weights_and_table_bytes"]
    return (
        significant(first["latency_p50_s"] * MILLISECONDS),
        "" if pd.isna(held) else significant(float(held) * MEGABYTES),
    )


def _perturbed(data: pd.DataFrame) -> list[FittingTable]:
    """Return one table per split, with a column per perturbation.

    A text lists the rates by severity.
    """
    tables = []
    for split, part in data[data["perturbation"] != CLEAN].groupby("split"):
        rows = []
        for key, group in part.sort_values("severity").groupby([*ROW, "perturbation"]):
            head = f"{str(key[-1]).replace('_', ' ')} {'·'.join(map(str, group['severity']))}"
            rates = [
                ("" if pd.isna(rate) else percentage(rate)) + (f" ({lacks} missing)" if lacks else "")
                for rate, lacks in zip(group["rate"], group["infra_errors"], strict=True)
            ]
            rows.append((*key, head, "·".join(rates)))
        merged = pd.DataFrame(rows, columns=[*ROW, "perturbation", "head", "text"]).sort_values("perturbation")
        counts = sorted(set(part["episodes"]))
        each = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        title = f"Success in % on {split} by perturbation and severity ({each} episodes a cell)"
        tables.append(conditions_block("", merged, list(merged["head"])).to_rich(title))
    return tables


def _ratios(measures: Sequence[MeasureRecord]) -> list[FittingTable]:
    table = ratios_table(measures)
    block = table.blocks[0]
    return [_narrow(block, block.caption, table.note)] if block.rows else []


def _narrow(block: Block, title: str, note: str) -> FittingTable:
    """Return the block without empty columns and without settings that never vary.

    These settings go into the title.
    """
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
    return left.to_rich(f"{title} ({constant})" if constant else title, note)
