"""The calibrated audit as a table: how much nearer to a demonstration than an expert."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from altbench.audit.expert import EXPERT
from altbench.audit.tables import ORDER
from altbench.report.privileged import marked
from altbench.report.table import Block, Table, interval_text
from altbench.stats.calibrated import PASSED, Calibrated, calibrate
from altbench.stats.clustering import initial_poses
from altbench.stats.trajectories import SOURCES, Distance, Source

MILLIMETRES = 1000.0
ROW = ("task", "label", "n", "train_seed")
NUMBERS = (
    *("episodes", "solved", "distance_m", "expert_distance_m", "memorised", "rate", "low", "high", "threshold", "z"),
    *("pairs", "gap_m", "gap_low_m", "gap_high_m"),
)
HEADS = {"label": "policy", "n": "N", "train_seed": "training seed"}


def calibrated_table(frame: pd.DataFrame, distance: Distance, source: Source) -> Table:
    """Return the calibrated audit by policy × N and case, in the order of the cases.

    `frame`: that of `cases.frame_of`, with the expert's episodes under its label.
    Without them, a row has the distance alone.
    """
    rows = []
    for (_, case), group in frame.groupby(["task", "case"], sort=False):
        expert = group[group["label"] == EXPERT]
        for key, own in group.groupby(list(ROW), sort=False):
            found = calibrate(own, expert, initial_poses(own))
            known = calibrate(expert, expert, initial_poses(expert))
            rows.append((*key, case, *_numbers(own, found, known)))
    data = pd.DataFrame(rows, columns=[*ROW, "case", *NUMBERS])
    data = data.astype(dict.fromkeys(NUMBERS[2:4] + NUMBERS[5:10] + NUMBERS[11:], "float64"))
    order = data["case"].map(ORDER)
    # The first case is the one to read: its rows come first, the nearest policy on top.
    data = data.assign(_case=order).sort_values(["task", "_case", "distance_m", "label"], kind="stable")
    data = data.drop(columns="_case").reset_index(drop=True).assign(distance=distance.name, trajectory=source)
    labels = {label: marked(label, policy) for label, policy in zip(frame["label"], frame["policy"], strict=True)}
    return Table("Calibrated memorisation audit", data, (_block(data, labels),), note(distance, source))


def _numbers(own: pd.DataFrame, found: Calibrated, expert: Calibrated) -> tuple[Any, ...]:
    share = found.memorised
    return (
        *(len(own), found.n, found.distance, expert.distance),
        *(share.successes if found.threshold is not None else None, share.value, share.low, share.high),
        *(found.threshold, found.z, found.pairs, found.gap, found.low, found.high),
    )


def note(distance: Distance, source: Source) -> str:
    """Say what the numbers are, precisely enough to compute them by hand."""
    return (
        "Successful episodes alone. Distance: median distance of an episode's motion to the nearest demonstration"
        f" (`{distance.name}`: {distance.description}; of {SOURCES[source]}). Memorised: the share of episodes whose"
        " distance to the nearest demonstration, over that to the second nearest, is below the threshold that"
        f" {100 * PASSED:.0f} % of the expert's episodes pass in the same case, with Wilson's 95 % interval over initial"
        " poses; the interval takes the threshold as given. z: Mann-Whitney statistic of the distances against the"
        " expert's, in standard deviations; below 0: nearer to the demonstrations than the expert, as copies are (after"
        " the C_T test of Meehan et al. 2020); it is no test, since episodes share poses. Minus the expert's: mean"
        " difference of distance on the same episodes, with its 95 % bootstrap interval over poses. The expert has seen"
        " no demonstration and draws its style anew. A policy that plays the mean style is nearer to the demonstrations"
        " than the expert without recalling any: read a small negative z with that in mind."
    )


def _block(data: pd.DataFrame, labels: Mapping[str, str]) -> Block:
    """Return the table's block. `labels`: of the policies, as they are shown."""
    names = [name for name in ("task", "label", "n") if name != "task" or data["task"].nunique() > 1]
    names += ["train_seed"] if data["train_seed"].nunique() > 1 else []
    header = (
        *(HEADS.get(name, name) for name in names),
        *("case", "distance, mm", "memorised", "z", "minus the expert's, mm", "solved"),
    )
    found = data.to_dict("records")
    shown = [{**row, "label": labels[row["label"]]} for row in found]
    rows = tuple((*(str(named[name]) for name in names), *_texts(row)) for named, row in zip(shown, found, strict=True))
    return Block("Nearer to a demonstration than the expert is?", header, rows, names=len(names) + 1)


def _texts(row: dict[Any, Any]) -> tuple[str, ...]:
    share = "" if pd.isna(row["rate"]) else interval_text(row["rate"], row["low"], row["high"])
    gap, low, high = (_millimetres(row[name], "+") for name in ("gap_m", "gap_low_m", "gap_high_m"))
    between = f" [{low}, {high}]" if low else ""
    paired = "" if not gap or row["label"] == EXPERT else f"{gap}{between}"
    z = "" if pd.isna(row["z"]) else f"{row['z'] + 0.0:.1f}"
    case = str(row["case"]).replace("_", " ")
    return case, _millimetres(row["distance_m"]), share, z, paired, f"{row['solved']}/{row['episodes']}"


def _millimetres(metres: float | None, sign: str = "") -> str:
    return "" if metres is None or pd.isna(metres) else f"{MILLIMETRES * metres:{sign}.1f}"
