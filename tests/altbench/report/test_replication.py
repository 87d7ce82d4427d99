"""The table and the figure of several data sets: what they show, and when the figure is left out."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from synthetic import episode, header

from altbench.report.drawing import data_sets
from altbench.report.drawing.data_sets import AXIS, replication_figure
from altbench.report.drawing.stars import UNCONVERGED
from altbench.report.replication import load_replicates, replication_table
from altbench.report.style import styled
from altbench.results import cells, frames
from altbench.results.training import FILE
from altbench.sweeps.replicates import folder_of
from altbench.sweeps.spec import CLEAN
from altbench.system import sealed


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


def late(data: pd.DataFrame, *rows: tuple[str, int]) -> pd.DataFrame:
    """The episodes; those of `rows`, a label on a data set, are by networks that have not converged."""
    return data.assign(converged=[row not in rows for row in zip(data["label"], data["data_seed"], strict=True)])


def test_a_rate_of_a_network_that_has_not_converged_is_starred_and_explained() -> None:
    table = replication_table(late(frame(BOTH), ("bc", 4)))
    texts = {row[1]: row[5:8] for row in table.blocks[0].rows}
    assert texts["bc"][:2] == ("90", "70 *") and texts["bc"][2].endswith("] *")
    assert not any("*" in text for text in texts["alt"])
    assert table.note.endswith(
        " Not converged, marked *, and not ranked: Lift, bc, N 30. Their networks saw the frames fewer than 100 times,"
        " and training did not end at a plateau of the loss (training.json)."
    )
    assert dict(zip(table.data["label"], table.data["converged"], strict=True)) == {"alt": True, "bc": False}
    figure = drawn(late(frame(BOTH), ("bc", 4)))
    assert figure is not None and UNCONVERGED in figure.get_suptitle()
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["alt", "bc *"]


def test_a_table_of_networks_that_have_converged_says_nothing_of_it() -> None:
    for data in (frame(BOTH), late(frame(BOTH))):
        table = replication_table(data)
        assert "converged" not in table.note and "converged" not in table.data
        assert not any("*" in text for row in table.blocks[0].rows for text in row)


def test_a_figure_explains_no_star_of_a_row_that_it_does_not_draw() -> None:
    more = frame({("late", "uniform", 4): 0.5})
    figure = drawn(late(pd.concat([frame(BOTH), more], ignore_index=True), ("late", 4)))
    assert figure is not None and UNCONVERGED not in figure.get_suptitle()


def test_what_the_folders_of_data_sets_know_of_training_is_read(tmp_path: Path) -> None:
    for seed in (3, 4):
        cells.write_cell(folder_of(tmp_path, seed), header("bc", 30, "uniform"), [episode(i, True) for i in range(2)])
    (key,) = set(load(tmp_path)["checkpoint_key"])
    assert "converged" not in load(tmp_path)
    known = {key: {"name": "lift/bc/n30/s0", "epochs": 10.0, "converged": False}}
    sealed.write_json(folder_of(tmp_path, 4) / FILE, {"checkpoints": known})
    (row,) = replication_table(load(tmp_path)).blocks[0].rows
    assert row[5:7] == ("100", "100 *")


def load(root: Path) -> pd.DataFrame:
    """The episodes of two data sets, published anew."""
    for seed in (3, 4):
        frames.load_parts(folder_of(root, seed)).write_episodes(folder_of(root, seed))
    return load_replicates(root, (3, 4))


def test_one_data_set_or_too_many_splits_have_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawn(frame({key: rate for key, rate in BOTH.items() if key[2] == 3})) is None
    assert drawn(frame(BOTH, perturbation="fog")) is None
    monkeypatch.setattr(data_sets, "MOST_PANELS", 0)
    assert drawn(frame(BOTH)) is None
