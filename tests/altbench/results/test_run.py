"""A run as an object: opened on this machine with its plan, or as another machine published it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import fakes
import pandas as pd
import pytest
from running import run_bare

from altbench.core.errors import CheckpointError, DatasetError
from altbench.core.policy import Trainable
from altbench.dataset import files
from altbench.report.opened import open_run
from altbench.results import Run
from altbench.results.demonstrations import FILES_KEPT, DemonstrationReader
from altbench.sweeps.spec import EvaluationEntry, SweepSpec


def sweep(**changes: Any) -> SweepSpec:
    values = {
        "name": "fake",
        "tasks": ["Fake"],
        "image_size": [32, 32],
        "device": "cpu",
        "demonstrations": {"n": 6},
        "policies": [{"policy": "open_loop", "n": [3, 6]}, {"policy": "random", "n": [6]}],
        "evaluations": [{"split": "recall", "episodes": 2}],
        "measure": False,
        **changes,
    }
    return SweepSpec.parse(values, "fake.toml")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, without measurements."""
    fakes.register()
    folder = tmp_path_factory.mktemp("run") / "fake"
    run_bare(sweep(), folder)
    return folder


def test_a_run_knows_its_records_policies_and_demonstrations(root: Path) -> None:
    run = Run.open(root, sweep(), "none")
    assert run.lacking == () and len(run.recorded) == len(run.plan.cells) == 3
    assert len(run.episodes()) == 6 and len(run.decisions()) >= 6 and run.measures() == []
    few, many, chance = run.plan.checkpoints
    assert [len(run.demonstrations(one)) for one in (few, many)] == [3, 6]
    assert [type(run.policy(one)).name for one in (few, chance)] == ["open_loop", "random"]
    assert isinstance(run.policy(few), Trainable) and run.folder.root == root


def test_a_run_that_has_not_begun_says_what_it_lacks(tmp_path: Path) -> None:
    run = Run.open(tmp_path / "new", sweep(), "none")
    assert run.lacking == ("demonstrations of Fake: 6 to collect",)
    assert run.episodes().empty and not (tmp_path / "new").exists()
    with pytest.raises(DatasetError, match=r"Fake\.hdf5: there is no such file"):
        run.demonstrations(run.plan.checkpoints[0])
    with pytest.raises(CheckpointError, match="fake/open_loop/n3/s0 is missing; `altbench run` fits it"):
        run.policy(run.plan.checkpoints[0])


def test_other_evaluations_keep_the_fits(root: Path) -> None:
    run = Run.open(root, sweep(), "none")
    other = run.with_evaluations([EvaluationEntry(split="uniform", episodes=2)])
    assert other.plan.checkpoints == run.plan.checkpoints and len(other.plan.cells) == 3
    assert not {cell.key for cell in other.plan.cells} & {cell.key for cell in run.plan.cells}


def test_a_finished_run_opens_with_its_plan_and_without_one(root: Path) -> None:
    run, opened = Run.open(root, sweep(), "none"), open_run(root)
    pd.testing.assert_frame_equal(opened.episodes(), run.episodes())
    pd.testing.assert_frame_equal(opened.decisions(), run.decisions())


def test_a_file_is_read_once_until_it_changes_and_few_are_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / f"{i}.hdf5" for i in range(FILES_KEPT + 1)]
    for path in paths:
        files.write(path, fakes.make_demonstrations(2), fakes.make_meta())
    read, whole, reader = [], files.read, DemonstrationReader()

    def counted(path: Path) -> files.Dataset:
        read.extend([path] if path in paths else [])  # writing reads back what it wrote, under another name
        return whole(path)

    monkeypatch.setattr(files, "read", counted)
    for path in (paths[0], paths[0], paths[1], paths[0]):
        assert len(reader.read(path)) == 2
    assert read == paths[:2]
    reader.read(paths[2])  # takes the place of the one that was used longest ago
    reader.read(paths[0])
    assert read == paths
    files.write(paths[0], fakes.make_demonstrations(3), fakes.make_meta())
    assert len(reader.read(paths[0])) == 3
    shutil.copy(paths[2], paths[1])
    reader.read(paths[1])
    assert read == [*paths, paths[0], paths[1]]
