"""The table of flags at a threshold from episodes of the split `calibrate`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from altbench.report.success import CONDITION, ROW, condition_blocks, flag_rate
from altbench.report.table import Table, rate_text
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


def calibrated_flags_table(frame: pd.DataFrame) -> Table:
    """Return flagged episodes by policy, N and condition at thresholds from `calibrate`.

    `frame`: as `results.load_episodes`. Rows without enough `calibrate` episodes, or
    without scores, are left out.
    """
    counted = countable(frame)
    known = pd.concat([counted.head(0).assign(threshold=0.0), *_with_thresholds(counted)], ignore_index=True)
    flagged = known.assign(flagged=(known["max_ood_score"] > known["threshold"]).astype("boolean"))
    rows: list[tuple[Any, ...]] = []
    texts: list[str] = []
    for key, group in flagged.groupby([*ROW, *CONDITION]):
        rate, level = flag_rate(group), float(group["threshold"].mean())
        rows.append((*key, rate.successes, rate.episodes, rate.value, rate.low, rate.high, level))
        texts.append(rate_text(rate))
    numbers = ["flagged", "episodes", "rate", "low", "high", "threshold"]
    data = pd.DataFrame(rows, columns=[*ROW, *CONDITION, *numbers]).astype(dict.fromkeys(numbers[2:], "float64"))
    return Table("Flags at a calibrated threshold", data, condition_blocks(data, texts), NOTE)


def _with_thresholds(counted: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the other episodes of each checkpoint that has a threshold, with it."""
    for _, group in counted[counted["max_ood_score"].notna()].groupby([*ROW, "train_seed"]):
        own = (group["split"] == CALIBRATE) & (group["perturbation"] == CLEAN)
        threshold = conformal_threshold(group.loc[own, "max_ood_score"], ASKED)
        if threshold is not None:
            yield group[group["split"] != CALIBRATE].assign(threshold=threshold)
