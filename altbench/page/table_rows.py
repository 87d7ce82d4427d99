"""The rows of the main table: success by split, what a decision costs, and flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from altbench.page.conditions import Condition, Row
from altbench.page.records import RunRecords, task_info
from altbench.report.costs import MEGABYTES, MILLISECONDS, measures_frame
from altbench.report.success import ROW
from altbench.sweeps.spec import CLEAN


@dataclass(frozen=True)
class Cost:
    """What one decision of a row costs; texts are empty if it was not measured.

    `headroom`: how often the p99 of a decision fits between two decisions.
    """

    p50: float | None
    p95: float | None
    p99: float | None
    megabytes: float | None
    headroom: float | None
    budget_ms: float | None
    details: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Flags:
    """Flagged episodes of a row: false alarms of clean ones, detections of perturbed ones."""

    false_alarms: str
    false_rate: float | None
    detections: str
    detection_rate: float | None


@dataclass(frozen=True)
class TableRow:
    """A row of the main table: success by split, cost and flags."""

    row: Row
    cells: tuple[Condition | None, ...]
    cost: Cost
    flags: Flags | None


def table_rows(run: RunRecords, splits: Sequence[str]) -> tuple[TableRow, ...]:
    """Return a line for each row of the run, with its unperturbed conditions on `splits`."""
    by_place = {(c.row.number, c.split): c for c in run.conditions if c.clean}
    costs, flags = _costs(run), _flags(run)
    return tuple(
        TableRow(
            row, tuple(by_place.get((row.number, split)) for split in splits), costs[row.number], flags.get(row.number)
        )
        for row in run.rows
    )


def _costs(run: RunRecords) -> dict[int, Cost]:
    frame, between = measures_frame(run.measures), _steps_between(run)
    return {row.number: _cost(row, frame, between.get(row.key)) for row in run.rows}


def _steps_between(run: RunRecords) -> dict[tuple[object, ...], float]:
    """Return row -> the usual number of control steps from one decision to the next."""
    if run.decisions.empty:
        return {}
    own = run.decisions[[*ROW, "key", "episode", "step"]]
    apart = own.assign(apart=own.groupby(["key", "episode"])["step"].diff()).dropna(subset=["apart"])
    return {tuple(key): float(group.median()) for key, group in apart.groupby(ROW)["apart"]}


def _cost(row: Row, frame: pd.DataFrame, steps: float | None) -> Cost:
    own = frame[(frame["label"] == row.label) & (frame["n"] == row.n) & (frame["preset"] == row.preset)]
    own = own[own["task"].isin([row.task, ""])]
    info = task_info(row.task)
    budget = steps / info.control_hz if steps and info else None
    if own.empty:
        return Cost(None, None, None, None, None, None)
    first = own.iloc[0]
    p50, p95, p99 = (_number(first[name], MILLISECONDS) for name in _QUANTILES)
    details = tuple((name, str(first[name])) for name in _DETAILS if pd.notna(first[name]) and str(first[name]))
    return Cost(
        p50,
        p95,
        p99,
        _number(first["weights_and_table_bytes"], MEGABYTES),
        budget * MILLISECONDS / p99 if budget and p99 else None,
        budget * MILLISECONDS if budget else None,
        details,
    )


_QUANTILES = ("latency_p50_s", "latency_p95_s", "latency_p99_s")
_DETAILS = ("device", "threads", "image_size", "inference", "machine", "trained_on", "precision")


def _number(value: object, factor: float) -> float | None:
    return None if pd.isna(value) else float(value) * factor  # type: ignore[arg-type, call-overload]


def _flags(run: RunRecords) -> dict[int, Flags]:
    rows: dict[tuple[Any, ...], int] = {row.key: row.number for row in run.rows}
    known = run.flagged[run.flagged["episodes"] > 0]
    return {rows[tuple(key)]: _flagged(group) for key, group in known.groupby(ROW)}


def _flagged(group: pd.DataFrame) -> Flags:
    clean = group["perturbation"] == CLEAN
    counts = [(int(own["flagged"].sum()), int(own["episodes"].sum())) for own in (group[clean], group[~clean])]
    (alarms, alarms_rate), (found, found_rate) = [
        (f"{hits}/{total}", hits / total) if total else ("", None) for hits, total in counts
    ]
    return Flags(alarms, alarms_rate, found, found_rate)
