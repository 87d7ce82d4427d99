"""Demonstrations are collected if something needs them, and only then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fakes
import pytest
from running import run_bare

from altbench.core.errors import DatasetError
from altbench.results.run import Run
from altbench.sweeps.needs import needs_demonstrations
from altbench.sweeps.spec import SweepSpec


@pytest.fixture(scope="module", autouse=True)
def _fake() -> None:
    fakes.register()


def sweep(policy: str = "random", split: str = "uniform", **demonstrations: Any) -> SweepSpec:
    values = {
        "name": "fake",
        "tasks": ["Fake"],
        "image_size": [32, 32],
        "device": "cpu",
        "demonstrations": {"n": 6, **demonstrations},
        "policies": [{"policy": policy, "n": [6]}],
        "evaluations": [{"split": split, "episodes": 2}],
        "measure": False,
    }
    return SweepSpec.parse(values, "fake.toml")


@pytest.mark.parametrize(
    ("asked", "needed"),
    [
        (sweep(), False),
        (sweep(split="grid"), False),
        (sweep(split="recall"), True),
        (sweep(split="replay"), True),
        (sweep(policy="open_loop"), True),
        (sweep(file="data/Lift.hdf5"), True),
    ],
)
def test_policies_that_learn_and_splits_of_demonstrations_need_them(asked: SweepSpec, needed: bool) -> None:
    assert needs_demonstrations(asked) is needed


def test_a_sweep_of_chance_on_new_poses_collects_nothing_and_is_found_finished(tmp_path: Path) -> None:
    assert run_bare(sweep(), tmp_path).ran == 1
    assert not (tmp_path / "demonstrations").exists()
    assert run_bare(sweep(), tmp_path).found == 1
    opened = Run.open(tmp_path, sweep(), "none")
    assert opened.lacking == () and len(opened.episodes()) == 2
    with pytest.raises(DatasetError, match="no demonstrations; nothing in the sweep 'fake' needs them"):
        opened.demonstrations(opened.plan.checkpoints[0])


def test_its_cells_stay_what_they_are_when_another_sweep_collects_into_the_folder(tmp_path: Path) -> None:
    run_bare(sweep(), tmp_path)
    run_bare(sweep(split="recall").model_copy(update={"name": "other"}), tmp_path)
    assert (tmp_path / "demonstrations" / "Fake.hdf5").is_file()
    assert run_bare(sweep(), tmp_path).found == 1
