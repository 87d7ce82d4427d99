"""Rows that see the task's state are marked, and take part in no ranking."""

from __future__ import annotations

import numpy as np
import pandas as pd

from altbench.core import registry
from altbench.core.task import TaskInfo
from altbench.report.privileged import is_privileged, marked
from altbench.report.success import success_table


def episodes(policy, successes, count=60):
    """Episodes of a policy that solves the first `successes`."""
    solved = np.arange(count) < successes
    return pd.DataFrame(
        {
            "task": "Lift",
            "label": policy,
            "policy": policy,
            "preset": "small",
            "n": 30,
            "train_seed": 0,
            "split": "recall",
            "perturbation": "clean",
            "severity": 0,
            "episode": np.arange(count),
            "seed": np.arange(count),
            "status": "ok",
            "success": solved,
        }
    )


def test_the_built_in_policies_that_require_the_state_are_those_that_are_marked():
    task = TaskInfo("Fake", version=1, horizon=60, grid_size=4, pose_names=("x", "y"))
    for name in sorted(set(registry.names("policy")) - {"sb3"}):  # sb3 needs a checkpoint
        kind = registry.policy(name)
        assert is_privileged(name) == kind(task, kind.config_type()).requirements.needs_state, name
    assert is_privileged("sb3")
    assert marked("mine", "blind") == "mine (privileged)"
    assert marked("mine", "alt") == "mine"


def test_a_privileged_row_is_marked_and_not_ranked():
    frame = pd.concat([episodes("blind", 60), episodes("fisher", 50), episodes("alt", 10)], ignore_index=True)
    table = success_table(frame)
    best = table.data.set_index("policy")["best"]
    assert best["fisher"]
    assert not best["alt"]
    assert pd.isna(best["blind"])
    assert [row[0] for row in table.blocks[0].rows] == ["alt", "blind (privileged)", "fisher"]
