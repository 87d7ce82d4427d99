"""Tables of out-of-distribution flags: those that policies raise, and those at a threshold from `calibrate` episodes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from altbench.report.success import CONDITION, ROW, condition_blocks, rate_texts
from altbench.report.table import Table, rate_text
from altbench.stats.parts import Episodes, chosen, parts_of
from altbench.stats.rates import Rate, countable, success_rate
from altbench.stats.scores import auroc, conformal_threshold
from altbench.sweeps.needs import CALIBRATE
from altbench.sweeps.spec import CLEAN

SHARE = "appearance"
"""The setting of lookups that is the share of plain thumbnails in their similarity."""
ASKED = 0.05
"""False alarms per episode that the threshold is set for."""
_OWN = (
    "Flagged/episodes, rate and Wilson 95 % interval over initial poses (false alarms on unperturbed episodes, detections"
    " on perturbed ones); AUROC of an episode's highest score against the same policy's unperturbed episodes on the same"
    " split."
)
_CALIBRATED = (
    "Episodes whose highest score is above the threshold/episodes, rate and Wilson 95 % interval over initial poses. The"
    f" threshold is set for {100 * ASKED:.0f} % false alarms on the policy's own unperturbed episodes of `{CALIBRATE}`,"
    " which no other column uses (split conformal prediction: the ⌈(n + 1) · 0.95⌉-th smallest of n highest scores), for"
    " each training seed apart. On `recall` the share is the false alarms; one calibration with 199 episodes mostly gives 2"
    " to 8 %, with 59 1 to 12 %. The flags that policies raise themselves are in {own}."
)
_THUMBNAILS = (
    " Plain grey thumbnails are a share of the similarity ({rows}): what such a row flags, it may flag by the thumbnails"
    " alone. `appearance = 0` leaves them out."
)


def ood_table(episodes: Episodes) -> Table:
    """Return the table of flagged episodes and AUROC by policy, N and condition.

    It has the policies that record a score or a flag.
    """
    rows: list[tuple[Any, ...]] = []
    clean: _Scores = {}
    thumbnails = Thumbnails()
    for part in parts_of(episodes):
        scored = countable(part)
        scored = scored[scored["max_ood_score"].notna() | scored["flagged"].notna()]
        thumbnails.add(scored)
        if part["perturbation"].iloc[0] == CLEAN:  # the first one of its split
            clean = {key: _by_seed(group) for key, group in scored.groupby([*ROW, "split"])}
        for key, group in scored.groupby([*ROW, *CONDITION]):
            found = flag_rate(group)
            area = _auroc(clean.get(key[: len(ROW) + 1]), group)
            rows.append((*key, found.successes, found.episodes, found.value, found.low, found.high, area))
    rows.sort(key=lambda row: row[: len(ROW) + len(CONDITION)])
    numbers = ["flagged", "episodes", "rate", "low", "high", "auroc"]
    data = pd.DataFrame(rows, columns=[*ROW, *CONDITION, *numbers]).astype(dict.fromkeys(numbers[2:], "float64"))
    none_missing = pd.Series(0, index=data.index)
    rates = rate_texts(data["flagged"], data["episodes"], data["rate"], data["low"], data["high"], none_missing)
    areas = [f"AUROC {value:.2f}" if pd.notna(value) else "" for value in data["auroc"]]
    texts = [" · ".join(filter(None, pair)) for pair in zip(rates, areas, strict=True)]
    return Table("Out-of-distribution flags", data, condition_blocks(data, texts), _OWN + thumbnails.note())


def calibrated_flags_table(episodes: Episodes, own: str = "ood.md") -> Table:
    """Return flagged episodes by policy, N and condition at thresholds from `calibrate`.

    `episodes`: as `results.load_episodes`, or parts of them. `own`: the file with the
    flags that policies raise themselves. Rows without enough `calibrate` episodes, or
    without scores, are left out.
    """
    thresholds = _thresholds(episodes)
    thumbnails = Thumbnails()
    found = [row for part in parts_of(episodes) if thresholds for row in _rates(part, thresholds, thumbnails)]
    found.sort(key=lambda row: row[: len(ROW) + len(CONDITION)])
    rows = [
        (*row, rate.successes, rate.episodes, rate.value, rate.low, rate.high, level) for *row, rate, level in found
    ]
    numbers = ["flagged", "episodes", "rate", "low", "high", "threshold"]
    data = pd.DataFrame(rows, columns=[*ROW, *CONDITION, *numbers]).astype(dict.fromkeys(numbers[2:], "float64"))
    texts = [rate_text(rate) for *_, rate, _ in found]
    note = _CALIBRATED.format(own=own) + thumbnails.note()
    return Table("Flags at a calibrated threshold", data, condition_blocks(data, texts), note)


class Thumbnails:
    """Which rows look up with plain thumbnails beside their key: share of the similarity -> labels."""

    def __init__(self) -> None:
        self.rows: dict[float, set[str]] = {}

    def add(self, scored: pd.DataFrame) -> None:
        """Count the rows of some episodes that have a score or a flag."""
        if "spec_json" in scored:
            for label, spec in scored[["label", "spec_json"]].drop_duplicates().itertuples(index=False, name=None):
                share = json.loads(spec).get("config", {}).get(SHARE) or 0.0
                self.rows.setdefault(share, set()).add(str(label))

    def note(self) -> str:
        """Return a sentence for the table's note; empty if no row has thumbnails."""
        told = [
            f"{100 * share:.0f} % in {', '.join(sorted(labels))}"
            for share, labels in sorted(self.rows.items())
            if share
        ]
        return _THUMBNAILS.format(rows="; ".join(told)) if told else ""


def thumbnails_note(flagged: pd.DataFrame) -> str:
    """Return what the note of a table of flags says of thumbnails; empty if no row of it looks up with any.

    `flagged`: the episodes that the table is made of. Those of policies without flags
    are not looked at.
    """
    thumbnails = Thumbnails()
    thumbnails.add(flagged[flagged["flagged"].notna()])
    return thumbnails.note()


def flag_rate(frame: pd.DataFrame) -> Rate:
    """Return the rate of flagged episodes, clustered as in `success_rate`.

    Episodes of policies without flags are left out.
    """
    known = frame[frame["flagged"].notna()]
    return success_rate(known.assign(success=known["flagged"].astype(bool), status="ok"))


_BySeed = dict[int, "pd.Series[Any]"]
_Scores = dict[tuple[Any, ...], _BySeed]
"""Row and split -> the highest scores of its unperturbed episodes, by training seed."""


def _by_seed(group: pd.DataFrame) -> _BySeed:
    return {int(seed): scores for seed, scores in group.groupby("train_seed")["max_ood_score"]}  # type: ignore[arg-type]


def _auroc(own: _BySeed | None, group: pd.DataFrame) -> float | None:
    """Return the AUROC of a perturbed group against its `own` unperturbed episodes.

    It is the mean over training seeds. Scores of two seeds have different scales and
    must not be ranked together.
    """
    if own is None or group["perturbation"].iloc[0] == CLEAN:
        return None
    areas = [auroc(own[seed], scores) for seed, scores in _by_seed(group).items() if seed in own]
    known = [area for area in areas if area is not None]
    return float(np.mean(known)) if known else None


def _thresholds(episodes: Episodes) -> dict[tuple[Any, ...], float]:
    """Return row and training seed -> threshold, of each checkpoint that has one."""
    found = {}
    for part in parts_of(chosen(episodes, split=CALIBRATE, perturbation=CLEAN)):
        counted = countable(part)
        for key, group in counted[counted["max_ood_score"].notna()].groupby([*ROW, "train_seed"]):
            threshold = conformal_threshold(group["max_ood_score"], ASKED)
            if threshold is not None:
                found[key] = threshold
    return found


def _rates(
    part: pd.DataFrame, thresholds: dict[tuple[Any, ...], float], thumbnails: Thumbnails
) -> Iterator[tuple[Any, ...]]:
    """Yield row, condition, rate and mean threshold of a part's policies that have one."""
    counted = countable(part)
    scored = counted[counted["max_ood_score"].notna() & (counted["split"] != CALIBRATE)]
    keys = scored[[*ROW, "train_seed"]].itertuples(index=False, name=None)
    known = scored.assign(threshold=[thresholds.get(key, np.nan) for key in keys]).dropna(subset=["threshold"])
    thumbnails.add(known)
    flagged = known.assign(flagged=(known["max_ood_score"] > known["threshold"]).astype("boolean"))
    for key, group in flagged.groupby([*ROW, *CONDITION]):
        yield (*key, flag_rate(group), float(group["threshold"].mean()))
