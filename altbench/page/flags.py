"""Section 3: the flag on unfamiliar images, and recall against generalisation."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from altbench.core.types import Float64
from altbench.page.charts import BOTTOM, TOP, Chart, Line, Mark, Text, linear, polyline, score_axis
from altbench.page.conditions import Condition, Row
from altbench.page.records import RunRecords, begins_at, task_info
from altbench.report.drawing.severities import threshold_between
from altbench.report.success import CONDITION, ROW
from altbench.report.table import interval_text, significant
from altbench.stats.rates import countable
from altbench.sweeps.spec import CLEAN

Areas = Mapping[tuple[Any, ...], Mapping[Any, Any]]
"""Row and condition -> the record of `ood_table`."""
DOTS = 60
"""How many episodes of a condition a strip shows at most, evenly chosen by score."""


@dataclass(frozen=True)
class FlagLine:
    """A line of the table of flags: one perturbation and severity of a row.

    `delay`: the median of control steps from the perturbation's beginning to the flag.
    """

    condition: Condition
    flagged: str
    rate: str
    auroc: str
    delay: str


@dataclass(frozen=True)
class FlagRow:
    """A row with scores on one split: its table, score strip and ROC curves."""

    row: Row
    split: str
    false_alarms: str
    lines: tuple[FlagLine, ...]
    strip: Chart
    roc: Chart | None


@dataclass(frozen=True)
class AuditTable:
    """The calibrated audit of one row, as `altbench audit` wrote it."""

    name: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


@dataclass(frozen=True)
class FlagSection:
    """The third section. `command`: what makes an audit, if one is missing."""

    rows: tuple[FlagRow, ...]
    audits: tuple[AuditTable, ...]
    command: str


log = logging.getLogger(__name__)


def flags(run: RunRecords) -> FlagSection:
    """Return the third section's contents."""
    counted = countable(run.episodes)
    scored = counted[counted["max_ood_score"].notna() & np.isfinite(counted["max_ood_score"])]
    records = run.flagged.to_dict("records")
    areas = {tuple(record[name] for name in [*ROW, *CONDITION]): record for record in records}
    found = []
    for row in run.rows:
        own = scored[(scored[ROW] == list(row.key)).all(axis=1)]
        for split in run.splits:
            part = own[own["split"] == split]
            if (part["perturbation"] != CLEAN).any():
                found.append(_row(run, row, split, part, areas))
    return FlagSection(tuple(found), audits(run), _command(run))


def _row(run: RunRecords, row: Row, split: str, part: pd.DataFrame, areas: Areas) -> FlagRow:
    conditions = run.of(row, split=split)
    frames = {c.number: part[part["name"].isin(c.cells)] for c in conditions}
    clean = next((c for c in conditions if c.clean), None)
    alarms = areas.get((*row.key, split, CLEAN, 0), {})
    lines = tuple(_line(c, frames[c.number], areas) for c in conditions if not c.clean and len(frames[c.number]))
    text = ""
    if alarms.get("episodes"):
        rate = interval_text(alarms["rate"], alarms["low"], alarms["high"])
        text = f"{alarms['flagged']}/{alarms['episodes']} = {rate}"
    roc = None if clean is None else _roc(row, frames[clean.number], [(c, frames[c.number]) for c in conditions])
    return FlagRow(row, split, text, lines, _strip(row, part, [(c, frames[c.number]) for c in conditions]), roc)


def _line(one: Condition, episodes: pd.DataFrame, areas: Areas) -> FlagLine:
    known = areas.get((*one.row.key, one.split, one.perturbation, one.severity), {})
    start = begins_at(str(episodes["spec_json"].iloc[0]))
    steps = episodes["first_flagged_step"].dropna()
    late = steps[steps >= start] - start
    rated = known.get("episodes")
    area = known.get("auroc")
    return FlagLine(
        one,
        f"{known['flagged']}/{rated}" if rated else "",
        interval_text(known["rate"], known["low"], known["high"]) if rated else "",
        f"{area:.2f}" if area is not None and pd.notna(area) else "",
        f"{float(late.median()):.0f}" if len(late) else "",
    )


def _strip(row: Row, part: pd.DataFrame, found: Sequence[tuple[Condition, pd.DataFrame]]) -> Chart:
    """Return each episode's highest score by condition; filled: flagged."""
    shown = [(c, frame) for c, frame in found if len(frame)]
    chart = Chart("Highest score of an episode", "", "score", width=max(320, 70 + 46 * len(shown)), height=290)
    chart_bottom = 290 - BOTTOM - 56
    y = score_axis(chart, part["max_ood_score"])
    y = linear(*_ends(part["max_ood_score"]), chart_bottom, TOP)
    chart.y_ticks = [Text(t.x, y(v), t.text, "end") for t, v in zip(chart.y_ticks, _tick_values(part), strict=True)]
    x = linear(-0.5, len(shown) - 0.5, chart.left, chart.right)
    for threshold in _thresholds(part):
        chart.lines.append(Line(f"M{chart.left} {y(threshold):.1f}H{chart.right}", -1, dashed=True))
    for i, (one, frame) in enumerate(shown):
        label = "clean" if one.clean else f"{one.perturbation.replace('_', ' ')} {one.severity}"
        chart.x_ticks.append(Text(x(i), chart_bottom + 12, label, "slanted"))
        chosen = frame.sort_values("max_ood_score", kind="stable")
        chosen = chosen.iloc[np.unique(np.linspace(0, len(chosen) - 1, DOTS).astype(int))]
        for k, (score, flag) in enumerate(zip(chosen["max_ood_score"], chosen["flagged"].fillna(False), strict=True)):
            place = x(i) + 20 * ((k * 0.618034) % 1 - 0.5)  # the golden ratio spreads evenly
            chart.marks.append(Mark(place, y(score), row.style, "", one.number, hollow=not flag, small=True))
    chart.height = 290
    return chart


def _ends(scores: pd.Series[Any]) -> tuple[float, float]:
    low, high = min(0.0, float(scores.min())), float(scores.max()) or 1.0
    return low, high + 0.04 * (high - low)


def _tick_values(part: pd.DataFrame) -> tuple[float, float, float]:
    low, high = min(0.0, float(part["max_ood_score"].min())), float(part["max_ood_score"].max()) or 1.0
    return low, (low + high) / 2, high


def _thresholds(part: pd.DataFrame) -> list[float]:
    recorded = sorted(set(map(float, part["ood_threshold"].dropna())))
    inferred = None if recorded else threshold_between(part)
    return recorded if inferred is None else [inferred]


def _roc(row: Row, clean: pd.DataFrame, found: Sequence[tuple[Condition, pd.DataFrame]]) -> Chart | None:
    """Return the ROC curve of each perturbation at its highest severity.

    Of several training seeds, the first: scores of two have different scales.
    """
    seed = clean["train_seed"].min() if len(clean) else None
    highest: dict[str, tuple[Condition, pd.DataFrame]] = {}
    for one, frame in found:
        if not one.clean and len(frame):
            highest[one.perturbation] = (one, frame)
    if not len(clean) or not highest:
        return None
    chart = Chart("ROC, highest severity", "false alarms (clean)", "detections", width=300, height=290)
    x, y = linear(0, 1, chart.left, chart.right), linear(0, 1, chart.bottom, chart.top)
    chart.x_ticks = [Text(x(r), chart.bottom + 15, f"{100 * r:.0f} %") for r in (0, 0.5, 1)]
    chart.y_ticks = [Text(chart.left - 6, y(r), f"{100 * r:.0f} %", "end") for r in (0, 0.5, 1)]
    chart.lines.append(Line(polyline([(x(0), y(0)), (x(1), y(1))]), -1, dashed=True))
    own = clean.loc[clean["train_seed"] == seed, "max_ood_score"].to_numpy(float)
    for k, (one, frame) in enumerate(highest.values()):
        scores = frame.loc[frame["train_seed"] == seed, "max_ood_score"].to_numpy(float)
        points = roc(own, scores)
        chart.lines.append(Line(polyline((x(a), y(b)) for a, b in points), row.style))
        name = f"{one.perturbation.replace('_', ' ')} {one.severity}"
        chart.texts.append(Text(chart.right - 4, chart.bottom - 8 - 13 * k, f"{name}: {_area(points):.2f}", "end"))
    return chart


def roc(clean: Float64, perturbed: Float64) -> list[tuple[float, float]]:
    """Return the points (false alarms, detections) of all thresholds, from (0, 0) to (1, 1)."""
    steps = np.unique(np.concatenate([clean, perturbed]))[::-1]
    found = [(float((clean >= step).mean()), float((perturbed >= step).mean())) for step in steps]
    return [(0.0, 0.0), *found]


def _area(points: Sequence[tuple[float, float]]) -> float:
    return sum((x2 - x1) * (y1 + y2) / 2 for (x1, y1), (x2, y2) in pairwise(points))


# -------------------------------------------------------------------------------------------------------------- audit


def audits(run: RunRecords) -> tuple[AuditTable, ...]:
    """Return the calibrated audits that lie in the run's folder, by name.

    An audit that cannot be read is left out, with a warning.
    """
    found = []
    for path in sorted((run.root / "audit").glob("*/calibrated.csv")):
        try:
            data, about = pd.read_csv(path), json.loads(path.with_suffix(".json").read_text("utf-8"))
            found.append(_audit(path.parent.name, data, str(about["note"])))
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("left out: %s: not an audit's table (%s)", path, error)
    return tuple(found)


_HEAD = ("policy", "N", "case", "solved", "distance, mm", "expert's, mm", "memorised", "minus the expert's, mm")


def _audit(name: str, data: pd.DataFrame, note: str) -> AuditTable:
    return AuditTable(name, _HEAD, tuple(_audit_texts(record) for record in data.to_dict("records")), note)


def _audit_texts(record: Mapping[Any, Any]) -> tuple[str, ...]:
    memorised = gap = ""
    if pd.notna(record["rate"]):
        memorised = f"{record['memorised']:.0f}/{record['solved']} " + interval_text(
            record["rate"], record["low"], record["high"]
        )
    if pd.notna(record["gap_m"]):
        gap = f"{1000 * record['gap_m']:+.1f}"
        if pd.notna(record["gap_low_m"]):
            gap += f" [{1000 * record['gap_low_m']:+.1f}, {1000 * record['gap_high_m']:+.1f}]"
    distances = (_millimetres(record["distance_m"]), _millimetres(record["expert_distance_m"]))
    solved = f"{record['solved']}/{record['episodes']}"
    case = str(record["case"]).replace("_", " ")
    return str(record["label"]), str(record["n"]), case, solved, *distances, memorised, gap


def _millimetres(value: Any) -> str:
    return "" if pd.isna(value) else significant(1000 * float(value))


def _command(run: RunRecords) -> str:
    """Return the command that audits the run's first row that has a fit; empty if it cannot."""
    from altbench.page.provenance import command

    folder = run.root / "checkpoints"
    fitted = sorted(path.name for path in folder.glob("*")) if folder.is_dir() and not run.submission else []
    for row in run.rows:
        own = run.episodes.loc[run.episodes["label"] == row.label, "train_seed"]
        name = f"{row.task.lower()}/{row.label}/n{row.n}/s{int(own.min()) if len(own) else 0}"
        if row.n >= 2 and task_info(row.task) and any(one.startswith(name.replace("/", "-")) for one in fitted):
            return command("audit", name, "--run", run.shown_root)
    return ""
