"""Rows that see the task's state are marked, and take part in no ranking."""

from __future__ import annotations

import numpy as np
import pandas as pd

from altbench.audit import cases
from altbench.audit.calibration import calibrated_table
from altbench.audit.tables import audit_table
from altbench.core import registry
from altbench.core.task import TaskInfo
from altbench.report.lookups import lookups_table
from altbench.report.privileged import is_privileged, marked
from altbench.report.success import success_table
from altbench.stats.trajectories import find_distance
from altbench.sweeps.spec import DemonstrationEntry


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
    assert [row[0] for row in table.blocks[0].rows] == ["alt", "fisher", "blind (privileged)"]


def test_a_privileged_row_is_marked_in_lookups_and_audits():
    frame = episodes("blind", 4, 6).assign(key="a", spec_json="{}")
    decisions = pd.DataFrame({"key": "a", "episode": range(6), "step": 0})
    decisions["matches"] = [[(0, 0)]] * 6
    tables = [lookups_table(frame, decisions, DemonstrationEntry())]
    audited = pd.concat([episodes("blind", 4, 6), episodes("alt", 4, 6)], ignore_index=True).assign(
        case=cases.CASES[0].name, s=0.5
    )
    audited = audited.assign(to_nearest_m=0.01, to_second_m=0.02, between_m=0.03)
    distance = find_distance("resampled")
    tables += [calibrated_table(audited, distance, "positions"), audit_table(audited, distance, "positions")]
    for table in tables:
        assert "blind" in set(table.data["label"])
        labels = {row[table.blocks[0].header.index("policy")] for row in table.blocks[0].rows}
        assert labels - {"alt"} == {"blind (privileged)"}
