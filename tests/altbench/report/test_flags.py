"""Flags at a threshold that is set on episodes of their own, and what tables say of thumbnails."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from altbench.report.flags import calibrated_flags_table, ood_table
from altbench.stats.scores import conformal_threshold


def episodes(split: str, scores: np.ndarray, perturbation: str = "clean", label: str = "alt") -> pd.DataFrame:
    count = len(scores)
    return pd.DataFrame(
        {
            **{"task": "Lift", "label": label, "policy": label, "preset": "small", "n": 30, "train_seed": 0},
            **{"split": split, "perturbation": perturbation, "severity": 0 if perturbation == "clean" else 5},
            **{"episode": range(count), "seed": range(count), "status": "ok", "success": True},
            "max_ood_score": scores,
            "flagged": pd.array([False] * count, dtype="boolean"),
        }
    )


def test_the_threshold_is_of_the_calibration_alone_and_leaves_what_was_asked() -> None:
    rng = np.random.default_rng(0)
    frame = pd.concat(
        [
            episodes("calibrate", rng.normal(size=199)),
            episodes("recall", rng.normal(size=500)),
            episodes("recall", rng.normal(size=50) + 10, "photograph"),
        ],
        ignore_index=True,
    )
    data = calibrated_flags_table(frame).data.set_index("perturbation")
    # Beta(10, 190): outside [1, 11] % with a chance below 1e-3, the binomial of 500 included.
    assert 0.01 <= data.loc["clean", "rate"] <= 0.11 and data.loc["photograph", "rate"] == 1
    own = frame.loc[frame["split"] == "calibrate", "max_ood_score"]
    assert data.loc["clean", "threshold"] == pytest.approx(conformal_threshold(own, 0.05))
    assert set(data["episodes"]) == {500, 50}


def test_rows_without_a_calibration_or_with_a_short_one_have_no_threshold() -> None:
    short = pd.concat([episodes("calibrate", np.arange(18.0)), episodes("recall", np.arange(50.0))])
    assert calibrated_flags_table(short).data.empty
    assert calibrated_flags_table(episodes("recall", np.arange(50.0))).data.empty
    unscored = pd.concat([episodes("calibrate", np.full(60, np.nan)), episodes("recall", np.full(60, np.nan))])
    assert calibrated_flags_table(unscored).data.empty


@pytest.mark.parametrize(("count", "rank"), [(19, 19), (59, 57), (99, 95), (199, 190)])
def test_the_threshold_is_the_rank_of_split_conformal_prediction(count: int, rank: int) -> None:
    scores = np.random.default_rng(count).permutation(np.arange(1.0, count + 1))
    assert conformal_threshold(scores, 0.05) == rank
    assert conformal_threshold(scores[:18], 0.05) is None


def test_tables_of_flags_say_which_rows_look_up_with_thumbnails() -> None:
    shares = {"alt": 0.3, "alt-key": 0.0, "alt_plus": 0.8, "fisher": None}
    frame = pd.concat(
        [
            episodes(split, np.arange(60.0), label=label).assign(spec_json=json.dumps({"config": config}))
            for label, share in shares.items()
            for config in [{} if share is None else {"appearance": share}]
            for split in ("calibrate", "recall")
        ],
        ignore_index=True,
    )
    for table in (ood_table(frame), calibrated_flags_table(frame)):
        assert "(30 % in alt; 80 % in alt_plus)" in table.note
    without = frame[frame["label"].isin(["alt-key", "fisher"])]
    assert "humbnails" not in ood_table(without).note + calibrated_flags_table(without).note
    unscored = frame.assign(max_ood_score=np.nan, flagged=pd.array([None] * len(frame), dtype="boolean"))
    assert "humbnails" not in ood_table(unscored).note
