"""What tables say of a policy below themselves, from the settings that were recorded."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import published

from altbench.core import registry
from altbench.report.caveats import caveats, labels_in, with_caveats
from altbench.report.replication import replication_table
from altbench.report.table import Table
from altbench.report.tables import all_tables
from altbench.results import frames


def episodes(label: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            **{"task": "Lift", "label": label, "policy": label, "preset": "small", "n": 30, "train_seed": 0},
            **{
                "split": "uniform",
                "perturbation": "clean",
                "severity": 0,
                "checkpoint_key": label,
                "name": "",
                "key": "",
            },
            **{"episode": range(60), "seed": range(60), "status": "ok", "success": np.arange(60) < 30, "message": ""},
            **{"max_ood_score": np.nan, "flagged": pd.array([None] * 60, dtype="boolean")},
        }
    )


def played(label: str, policy: str, **config: object) -> pd.DataFrame:
    return episodes(label).assign(policy=policy, spec_json=json.dumps({"config": config}))


def test_act_without_pose_is_said_to_have_none_in_every_table_with_its_row() -> None:
    frame = pd.concat(
        [
            played("act", "act", pose=False, pred_horizon=8),
            played("mine", "isolate:act", pose=False, pred_horizon=8),
            played("bc", "bc", pose=True, pred_horizon=8),
        ],
        ignore_index=True,
    )
    tables = all_tables(frame, [])
    assert set(tables) == {"success", "failures"}
    said = "act, mine: not the published ACT, it sees no pose of the arm and predicts chunks of 8 (100 there)."
    for table in (*tables.values(), replication_table(frame.assign(data_seed=0))):
        assert table.note.endswith(said)
    alone = all_tables(frame[frame["label"] == "bc"], [])
    assert not any("ACT" in table.note for table in alone.values())


def test_a_row_that_has_what_the_published_one_has_says_nothing() -> None:
    assert caveats(played("act", "act", pose=True, pred_horizon=100)) == {}
    posed = caveats(played("act", "act", pose=True, pred_horizon=8))
    assert posed == {"act": "not the published ACT, it predicts chunks of 8 (100 there)"}
    assert caveats(played("act", "./mine.py:Act", pose=False)) == {}  # nobody else's code runs for a table
    assert caveats(episodes("act")) == {}  # no settings were recorded


def test_the_registry_names_the_policies_that_have_one() -> None:
    own = {name for name in registry.BUILT_IN["policy"] if "caveat" in vars(registry.policy(name))}
    assert own == registry.CAVEATED


def test_only_the_rows_of_a_table_are_told() -> None:
    table = Table("t", pd.DataFrame({"policy, seed": ["act, seed 0", "act, seed 1"]}), (), "Note.")
    assert labels_in(table) == {"act"}
    assert with_caveats(table, {"act": "one", "bc": "two"}).note == "Note. act: one."
    assert with_caveats(dataclasses.replace(table, data=pd.DataFrame()), {"act": "one"}).note == "Note."


def test_published_act_has_its_caveat() -> None:
    frame = frames.load_published(published.RESULTS / "replication" / "data3" / "E3-main-table")
    assert set(caveats(frame)) == {"act"}
