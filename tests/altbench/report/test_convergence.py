"""Rows whose networks have not converged: told from steps, marked in tables, not ranked."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from altbench.report.success import success_table
from altbench.results.training import FILE, load_training, with_training
from altbench.runner.work import training_of
from altbench.system import sealed


def trained(steps: int, total: int, frames: int = 1000, least: float = 100.0) -> dict[str, Any]:
    clock: Any = SimpleNamespace(steps=steps, total=total)
    policy: Any = SimpleNamespace(least_epochs=least)
    return training_of(policy, {"batch_size": 50}, clock, frames)


def test_enough_passes_or_a_plateau_make_a_fit_converged() -> None:
    assert trained(2000, 2000) == {"epochs": 100.0, "converged": True}
    assert trained(1500, 1500) == {"epochs": 75.0, "converged": False}
    assert trained(600, 1500) == {"epochs": 30.0, "converged": True}  # it ended at a plateau
    assert trained(500, 500, frames=20) == {"epochs": 500.0, "converged": True}  # a batch is all frames


def test_policies_without_a_rule_or_without_steps_are_not_judged() -> None:
    assert trained(10, 10, least=0.0) == {} == trained(0, 0)


def episodes(label: str, won: int, key: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            **{"task": "Lift", "label": label, "policy": label, "preset": "small", "n": 30, "train_seed": 0},
            **{"split": "uniform", "perturbation": "clean", "severity": 0, "checkpoint_key": key},
            **{"episode": range(60), "seed": range(60), "status": "ok", "success": np.arange(60) < won},
        }
    )


@pytest.mark.parametrize(("converged", "best"), [(True, {"bc"}), (False, set())])
def test_a_row_that_has_not_converged_is_marked_and_takes_no_part_in_the_ranking(
    converged: bool, best: set[str], tmp_path: Path
) -> None:
    known = {"b": {"name": "lift/bc/n30/s0", "epochs": 10.0, "converged": converged}}
    sealed.write_json(tmp_path / FILE, {"checkpoints": known})
    frame = pd.concat(
        [episodes("bc", 60, "b"), episodes("alt", 40, "a"), episodes("kdtree", 5, "k")], ignore_index=True
    )
    table = success_table(with_training(frame, tmp_path))
    marked = {
        str(label): bool(mark)
        for label, mark in zip(table.data["label"], table.data["best"].fillna(False), strict=True)
    }
    assert {label for label, mark in marked.items() if mark} == best
    texts = {row[0]: row[-1] for row in table.blocks[0].rows}
    assert texts["bc"].endswith(" *") == (not converged) and not texts["alt"].endswith("*")
    assert ("Not converged, marked *, and not ranked: Lift, bc, N 30." in table.note) == (not converged)


def test_without_a_file_nothing_is_marked(tmp_path: Path) -> None:
    frame = episodes("bc", 60, "b")
    assert with_training(frame, tmp_path) is frame and load_training(tmp_path) == {}
