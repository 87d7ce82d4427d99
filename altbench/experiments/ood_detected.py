"""What detectors flag under each condition, and what refusing strange episodes gains.

Published episodes have no keys. So what was not played here has the numbers that the
tables of its published report tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from altbench.experiments.ood_scores import CONDITIONS, LATE, NEW_POSE, Fitted, selective
from altbench.experiments.shared.detectors import DETECTION, DETECTORS, auroc_interval, false_alarms_at_detection
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.matrix import has_published
from altbench.experiments.shared.recall import told_rate, without_intervals
from altbench.experiments.shared.texts import frame_table, percent, prose
from altbench.report.table import Table, rate_text
from altbench.stats.rates import Rate, clustered_rate, rate_of

DETECTED, SELECTED = "detectors", "selective"
"""The file stems of the two tables."""
ASKED = 0.05
"""False alarms per episode that the calibration asks for."""
COVERAGES = (1.0, 0.75, 0.5, 0.25)
"""Shares of the episodes that a policy takes on, the least strange first."""
Row = dict[str, Any]
"""A row of a table's numbers, by column."""

NOTE = """
    All numbers are of an episode's highest score, compared with unperturbed `recall`.
    AUROC with 95 % bootstrap intervals, rates with Wilson 95 % intervals, both over
    initial poses; false alarms take the threshold as given.
    Calibrated: by leaving out one demonstration at a time, for {asked} false alarms.
    Delay: control steps from the beginning of the perturbation to the first flag,
    median [quartiles] of the flagged episodes.
    """
SELECTIVE_NOTE = "Wilson 95 % intervals: each episode of `uniform` begins from a pose of its own."


def detected_rows(run: ExperimentRun, fitted: Sequence[Fitted]) -> list[Row]:
    """Return the numbers of each detector under each condition that is known.

    Published episodes have no keys: a condition that was not played here has the numbers
    of its published table.
    """
    own = [{"detector": f.detector.name, "condition": c, **_numbers(f, c)} for f in fitted for c in f.embedded]
    further = _published_conditions(run) - {row["condition"] for row in own}
    told = [_without(row, "low", "high") for name in further for row in _told(run, DETECTED, condition=name)]
    detectors, conditions = [d.name for d in DETECTORS], list(CONDITIONS)
    return sorted([*own, *told], key=lambda row: (detectors.index(row["detector"]), conditions.index(row["condition"])))


def _published_conditions(run: ExperimentRun) -> set[str]:
    """Return the conditions under which ALT's episodes are published ones."""
    return {name for name, where in CONDITIONS.items() if has_published(run, {**where, "label": "alt"})}


def _told(run: ExperimentRun, stem: str, **where: Any) -> list[Row]:
    """Return rows of a published table, each without the numbers that it does not have."""
    rows = run.published_rows(stem, **where).to_dict("records")
    return [{str(name): value for name, value in row.items() if pd.notna(value)} for row in rows]


def _without(row: Row, *columns: str) -> Row:
    """Return a row without these columns; tables of before have intervals over episodes in `low` and `high`."""
    return {name: value for name, value in row.items() if name not in columns}


def detector_table(rows: Sequence[Row], more: str = "") -> Table:
    """Tabulate by detector and condition: AUROC, false alarms, detections and delays.

    `more`: what the note says besides.
    """
    data = pd.DataFrame(rows)
    texts = {
        "condition": [str(r["condition"]) for r in rows],
        "detector": [str(r["detector"]) for r in rows],
        "AUROC": [_auroc_text(r) for r in rows],
        f"false alarms at {percent(DETECTION)} detection": [rate_text(_rate(r, "at_detection", "clean")) for r in rows],
        "flagged, calibrated": [rate_text(_rate(r, "flagged", "episodes")) for r in rows],
        "delay, steps": [_delay_text(r) for r in rows],
    }
    order = sorted(range(len(rows)), key=lambda i: list(CONDITIONS).index(rows[i]["condition"]))
    texts = {head: [values[i] for i in order] for head, values in texts.items()}
    note = prose(NOTE, asked=percent(ASKED)) + without_intervals(_rate(r, "flagged", "episodes") for r in rows) + more
    return frame_table("Detectors", data, texts, note, names=2)


def _numbers(one: Fitted, condition: str) -> Row:
    numbers = _columns("flagged", "episodes", one.flagged(condition))
    if condition == "recall":
        return numbers
    clean, scored = one.scored("recall"), one.scored(condition)
    area = auroc_interval(clean, scored)
    alarms = false_alarms_at_detection(clean.scores, scored.scores)
    numbers |= dict(zip(("auroc", "auroc_low", "auroc_high"), area or (None, None, None), strict=True))
    numbers |= _columns("at_detection", "clean", clustered_rate(alarms, clean.poses[: len(alarms)]))
    delays = one.delays(condition, LATE if "step" in condition else 0)
    if len(delays) and condition != NEW_POSE:
        lower, median, upper = np.quantile(delays, [0.25, 0.5, 0.75])
        numbers |= {"delay": float(median), "delay_lower": float(lower), "delay_upper": float(upper)}
    return numbers


def _columns(count: str, of: str, rate: Rate) -> Row:
    """Return a rate as columns; `count` and `of` name those of its counts."""
    return {count: rate.successes, of: rate.episodes, f"{count}_low": rate.low, f"{count}_high": rate.high}


def _rate(r: Row, count: str, of: str) -> Rate:
    """Return the rate of `_columns`."""
    return told_rate(r, count, of, count) if count in r else rate_of(0, 0)


def _auroc_text(r: Row) -> str:
    if r.get("auroc") is None:
        return ""
    interval = f" [{r['auroc_low']:.3f}, {r['auroc_high']:.3f}]" if "auroc_low" in r else ""
    return f"{r['auroc']:.3f}{interval}"


def _delay_text(r: Row) -> str:
    return f"{r['delay']:.0f} [{r['delay_lower']:.0f}, {r['delay_upper']:.0f}]" if "delay" in r else ""


def selective_rows(run: ExperimentRun, fitted: Sequence[Fitted]) -> list[Row]:
    """Return success over the least strange share of `uniform` episodes, by share and detector.

    The score is the one before the first action. The numbers are those of the published
    table if the episodes are published ones.
    """
    if NEW_POSE in _published_conditions(run):
        return _told(run, SELECTED)
    rows: list[Row] = []
    for coverage in COVERAGES if any(NEW_POSE in one.embedded for one in fitted) else ():
        for one in fitted:
            rate = selective(one, coverage)
            rows.append({"detector": one.detector.name, "coverage": coverage, "successes": rate.successes})
            rows[-1] |= {"episodes": rate.episodes, "rate": rate.value, "low": rate.low, "high": rate.high}
    return rows


def selective_table(rows: Sequence[Row]) -> Table:
    """Tabulate `selective_rows`."""
    texts = {"detector": list(dict.fromkeys(str(row["detector"]) for row in rows))}
    for row in rows:
        text = rate_text(rate_of(int(row["successes"]), int(row["episodes"])))
        texts.setdefault(f"takes on {percent(row['coverage'])}", []).append(text)
    return frame_table("Selective success", pd.DataFrame(rows), texts, SELECTIVE_NOTE)
