"""The figure of several data sets: what it draws, and when it is left out."""

from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.figure import Figure

from altbench.report.drawing import data_sets
from altbench.report.drawing.data_sets import AXIS, replication_figure
from altbench.report.replication import replication_table
from altbench.report.style import styled
from altbench.sweeps.spec import CLEAN


def frame(rates: dict[tuple[str, str, int], float], n: int = 30, perturbation: str = CLEAN) -> pd.DataFrame:
    """Twenty episodes for each (label, split, data seed), successes first."""
    rows = [
        {
            "task": "Lift",
            "label": label,
            "policy": label,
            "preset": "small",
            "n": n,
            "split": split,
            "perturbation": perturbation,
            "severity": 0,
            "data_seed": seed,
            "train_seed": 0,
            "episode": episode,
            "status": "ok",
            "success": episode < 20 * rate,
        }
        for (label, split, seed), rate in rates.items()
        for episode in range(20)
    ]
    return pd.DataFrame(rows)


SPLITS = ("replay", "recall", "uniform", "interpolate", "extrapolate_side")


def drawn(data: pd.DataFrame) -> Figure | None:
    with styled():
        return replication_figure(data)


BOTH = {("bc", "uniform", 3): 0.9, ("bc", "uniform", 4): 0.7, ("alt", "uniform", 3): 0.2, ("alt", "uniform", 4): 0.4}


def test_each_data_set_and_their_mean_are_drawn() -> None:
    figure = drawn(frame(BOTH))
    assert figure is not None and figure.get_supxlabel() == AXIS
    (axis,) = figure.axes
    assert axis.get_title() == "uniform" and "data sets 3, 4" in figure.get_suptitle()
    names = [label.get_text() for label in axis.get_yticklabels()]
    parts = [sorted(line.get_xdata()) for line in axis.lines if line.get_marker() == "|"]
    means = [line.get_xdata()[0] for line in axis.lines if len(line.get_xdata()) == 1]
    assert dict(zip(names, parts, strict=True)) == {"alt": [0.2, 0.4], "bc": [0.7, 0.9]}
    assert dict(zip(names, means, strict=True)) == pytest.approx({"alt": 0.3, "bc": 0.8})


def test_the_largest_n_and_clean_episodes_are_drawn_alone() -> None:
    few = frame(dict.fromkeys(BOTH, 0.0), n=10)
    perturbed = frame(dict.fromkeys(BOTH, 0.0), perturbation="fog")
    figure = drawn(pd.concat([few, frame(BOTH), perturbed], ignore_index=True))
    assert figure is not None
    means = [line.get_xdata()[0] for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    assert sorted(means) == pytest.approx([0.3, 0.8])


def test_the_tables_rows_and_splits_stand_as_in_other_tables() -> None:
    played = [(label, split, seed) for label in ("alt", "bc", "fisher") for split in SPLITS[::-1] for seed in (3, 4)]
    (block,) = replication_table(frame(dict.fromkeys(played, 0.5))).blocks
    assert [row[1:4:2] for row in block.rows] == [(label, s) for label in ("alt", "fisher", "bc") for s in SPLITS]


def test_one_data_set_or_too_many_splits_have_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawn(frame({key: rate for key, rate in BOTH.items() if key[2] == 3})) is None
    assert drawn(frame(BOTH, perturbation="fog")) is None
    monkeypatch.setattr(data_sets, "MOST_PANELS", 0)
    assert drawn(frame(BOTH)) is None
