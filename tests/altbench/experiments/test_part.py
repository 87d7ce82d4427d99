"""Rows and splits of experiments that are played now."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from altbench.cli.app import app
from altbench.core.errors import ConfigError, UnknownNameError
from altbench.experiments import EXPERIMENTS, find
from altbench.experiments.shared.part import WHOLE, Part
from altbench.sweeps.plan import make_plan
from altbench.sweeps.rows import provenance_of


def keys(sweeps: object) -> set[str]:
    plans = [make_plan(sweep, provenance_of("cpu", "none", {})) for sweep in sweeps]  # type: ignore[attr-defined]
    return {cell.key for plan in plans for cell in plan.cells}


def test_a_part_asks_for_some_of_the_same_cells() -> None:
    whole = find("E3").sweeps("small")
    some = Part(("fisher", "act_ensemble"), ("uniform", "interpolate")).of(whole)
    assert [sorted(entry.name for entry in sweep.policies) for sweep in some] == [["fisher"], ["act_ensemble"]]
    assert all({entry.split for entry in sweep.evaluations} == {"uniform", "interpolate"} for sweep in some)
    assert len(keys(some)) == 4 and keys(some) < keys(whole)


def test_sweeps_without_the_rows_or_splits_are_left_out() -> None:
    whole = find("E3").sweeps("small")
    assert len(Part(("fisher",)).of(whole)) == 1
    assert len(Part(splits=("extrapolate_side",)).of(whole)) == 1
    assert Part(("bc_gmm",), ("replay",)).of(whole) == []


@pytest.mark.parametrize("identity", EXPERIMENTS)
def test_the_whole_of_an_experiment_is_the_experiment(identity: str) -> None:
    whole = find(identity).sweeps("small")
    assert WHOLE.of(whole) == list(whole)


def test_a_row_or_split_that_no_experiment_has_is_named(tmp_path: Path) -> None:
    for option, name, told in (("--only", "fischer", "fisher"), ("--split", "unform", "uniform")):
        for command in (["experiments", "run"], ["experiments", "plan"], ["reproduce"]):
            arguments = [*command, "E3", option, name, "--out", str(tmp_path / "out")]
            with pytest.raises(UnknownNameError, match=f"{name}.*{told}"):
                CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert not any(tmp_path.iterdir())


def test_a_report_has_no_part(tmp_path: Path) -> None:
    arguments = ["reproduce", "E3", "--report-only", "--only", "fisher", "--out", str(tmp_path)]
    with pytest.raises(ConfigError, match="a report is of the whole experiment"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_a_plan_of_a_part_lists_its_cells_alone(tmp_path: Path) -> None:
    arguments = ["experiments", "plan", "E3", "--only", "fisher", "--split", "uniform", "--out", str(tmp_path)]
    told = CliRunner().invoke(app, arguments, catch_exceptions=False).output
    assert "1 checkpoint, 1 cell (100 episodes)" in told and "lift/fisher" in told and "diffusion" not in told


def test_an_experiment_that_has_nothing_of_the_part_is_not_begun(tmp_path: Path) -> None:
    arguments = ["reproduce", "E1", "E3", "--only", "bc_gmm", "--split", "replay", "--workers", "0"]
    told = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path)], catch_exceptions=False).output
    assert told.count("it has none of the rows and splits") == 2
    assert not (tmp_path / "run" / "experiments").exists()
