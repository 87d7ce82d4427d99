"""Success tables of several training seeds: seeds that play the same episodes are no further episodes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
import pytest
from synthetic import episode, header

from altbench.report.success import success_table
from altbench.report.table import Table
from altbench.results import cells, frames
from altbench.stats import rates


def table_of(folder: Path, n: int, hits: dict[str, int], seeds: int) -> Table:
    """Every training seed of a policy succeeds in its first `hits` of `n` episodes."""
    for label, count in hits.items():
        for seed in range(seeds):
            head = header(label, 30, "recall")
            head = dataclasses.replace(head, train_seed=seed, name=f"{head.name}{seed}", key=f"{head.key}{seed}")
            cells.write_cell(folder, head, [episode(i, i < count) for i in range(n)])
    return success_table(frames.load_episodes(folder))


def test_seeds_that_end_alike_narrow_no_interval(tmp_path: Path) -> None:
    table = table_of(tmp_path, 30, {"alt": 20}, seeds=3)
    row = table.data.iloc[0]
    assert (row["successes"], row["episodes"]) == (60, 90)
    assert (row["low"], row["high"]) == pytest.approx(rates.wilson_interval(20, 30))
    assert "Rao and Scott" in table.note


def test_seeds_do_not_make_few_episodes_a_ranking(tmp_path: Path) -> None:
    assert table_of(tmp_path, 30, {"alt": 30, "bc": 0}, seeds=2).data["best"].isna().all()


def test_seeds_do_not_make_a_difference_significant(tmp_path: Path) -> None:
    """Four more successes of 50 are no proof (p = 0.125), and do not become one by being played with three seeds."""
    table = table_of(tmp_path, 50, {"alt": 40, "bc": 36}, seeds=3)
    assert table.data["best"].to_list() == [False, False]
    better = table_of(tmp_path / "b", 50, {"alt": 40, "bc": 20}, seeds=3)
    assert better.data["best"].to_list() == [True, False] and not pd.isna(better.data["best"]).any()


def test_one_seed_is_told_as_before(tmp_path: Path) -> None:
    table = table_of(tmp_path, 40, {"alt": 36}, seeds=1)
    assert table.blocks[0].rows == (("alt", "30", "36/40 90 % [77, 96]"),) and "further seeds" not in table.note
