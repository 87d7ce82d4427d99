"""The table of flags at a threshold from episodes of the split `calibrate`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from altbench.report.success import CONDITION, ROW, condition_blocks, flag_rate
from altbench.report.table import Table, rate_text
from altbench.stats.parts import Episodes, chosen, parts_of
from altbench.stats.rates import countable
from altbench.stats.scores import conformal_threshold
from altbench.sweeps.needs import CALIBRATE
from altbench.sweeps.spec import CLEAN

ASKED = 0.05
"""False alarms per episode that the threshold is set for."""
NOTE = (
    "Episodes whose highest score is above the threshold/episodes, rate and Wilson 95 % interval over initial poses. The"
    f" threshold is set for {100 * ASKED:.0f} % false alarms on the policy's own unperturbed episodes of `{CALIBRATE}`,"
    " which no other column uses (split conformal prediction: the ⌈(n + 1) · 0.95⌉-th smallest of n highest scores), for"
    " each training seed apart. On `recall` the share is the false alarms; one calibration with 199 episodes mostly gives 2"
    " to 8 %, with 59 1 to 12 %. The flags that policies raise themselves are in ood.md."
)


def calibrated_flags_table(episodes: Episodes) -> Table:
    """Return flagged episodes by policy, N and condition at thresholds from `calibrate`.

    `episodes`: as `results.load_episodes`, or parts of them. Rows without enough
    `calibrate` episodes, or without scores, are left out.
    """
    thresholds = _thresholds(episodes)
    found = [row for part in parts_of(episodes) if thresholds for row in _rates(part, thresholds)]
    found.sort(key=lambda row: row[: len(ROW) + len(CONDITION)])
    rows = [
        (*row, rate.successes, rate.episodes, rate.value, rate.low, rate.high, level) for *row, rate, level in found
    ]
    numbers = ["flagged", "episodes", "rate", "low", "high", "threshold"]
    data = pd.DataFrame(rows, columns=[*ROW, *CONDITION, *numbers]).astype(dict.fromkeys(numbers[2:], "float64"))
    texts = [rate_text(rate) for *_, rate, _ in found]
    return Table("Flags at a calibrated threshold", data, condition_blocks(data, texts), NOTE)


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


def _rates(part: pd.DataFrame, thresholds: dict[tuple[Any, ...], float]) -> Iterator[tuple[Any, ...]]:
    """Yield row, condition, rate and mean threshold of a part's policies that have one."""
    counted = countable(part)
    scored = counted[counted["max_ood_score"].notna() & (counted["split"] != CALIBRATE)]
    keys = scored[[*ROW, "train_seed"]].itertuples(index=False, name=None)
    known = scored.assign(threshold=[thresholds.get(key, np.nan) for key in keys]).dropna(subset=["threshold"])
    flagged = known.assign(flagged=(known["max_ood_score"] > known["threshold"]).astype("boolean"))
    for key, group in flagged.groupby([*ROW, *CONDITION]):
        yield (*key, flag_rate(group), float(group["threshold"].mean()))
