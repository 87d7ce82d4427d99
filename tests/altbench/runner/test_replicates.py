"""Several data sets in one command: a run each, their table, resumed, redrawn, opened."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pandas as pd
import pytest
import tomli_w
from rich.console import Console
from typer.testing import CliRunner

from altbench.cli import run as commands
from altbench.cli.app import app
from altbench.core.errors import ConfigError, ResultsError
from altbench.experiments.reproduce import report_replicates, reproduce_replicates, show_replicated_plans
from altbench.experiments.shared.experiment import Experiment
from altbench.experiments.shared.sections import Report
from altbench.report.opened import open_run
from altbench.runner import main
from altbench.sweeps.spec import SweepSpec


@pytest.fixture
def two(own_policies: Path, monkeypatch: pytest.MonkeyPatch) -> SweepSpec:
    for module in (main, commands):
        monkeypatch.setattr(module, "require_renderer", lambda: "none")
    spec = {
        "name": "fake",
        "tasks": ["Fake"],
        "image_size": [32, 32],
        "device": "cpu",
        "demonstrations": {"n": 4, "seeds": [3, 4]},
        "policies": [{"policy": f"{own_policies}:Good", "n": [4]}],
        "evaluations": [{"split": "recall", "episodes": 4}],
        "measure": False,
    }
    return SweepSpec.parse(spec, "fake.toml")


def test_a_script_runs_each_data_set_once_and_has_their_table(two: SweepSpec, tmp_path: Path) -> None:
    found = main.run_replicates(two, tmp_path, workers=0)
    assert {seed: one.ran for seed, one in found.items()} == {3: 1, 4: 1}
    assert {seed: one.ran for seed, one in main.run_replicates(two, tmp_path, workers=0).items()} == {3: 0, 4: 0}
    table = pd.read_csv(tmp_path / "tables" / "replication.csv")
    assert table[["rate", "data_sets", "episodes"]].values.tolist() == [[1.0, 2, 8]]
    seeds = [one.episodes()["seed"].tolist() for one in found.values()]
    assert not set(seeds[0]) & set(seeds[1])
    with pytest.raises(ConfigError, match="run_replicates runs them all"):
        main.run(two, tmp_path, workers=0)
    with pytest.raises(ResultsError, match=r"runs of several data sets; open one, such as .*data3"):
        open_run(tmp_path)


@pytest.mark.slow
def test_the_command_shows_what_is_left_and_the_table_and_redraws_it(two: SweepSpec, tmp_path: Path) -> None:
    file, out = tmp_path / "two.toml", tmp_path / "out"
    file.write_text(tomli_w.dumps({**two.model_dump(mode="json", exclude_none=True), "measure": False}))
    arguments = ["run", str(file), "--out", str(out), "--workers", "0"]
    one = CliRunner().invoke(app, [*arguments, "--data-seed", "5", "--dry-run"])
    assert one.exit_code == 0 and "fake-data5:" in one.output  # the option names the data set once
    dry = CliRunner().invoke(app, [*arguments, "--dry-run"])
    assert dry.exit_code == 0 and "data3" in dry.output and "data4" in dry.output and not out.exists()
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0 and "Replication over data sets" in done.output
    figures = [out / "figures" / f"replication.{suffix}" for suffix in ("png", "svg")]
    for path in (out / "tables" / "replication.md", *figures):
        path.unlink()
    again = CliRunner().invoke(app, ["redraw", str(out)])
    assert again.exit_code == 0, again.output
    assert "sd over data" in (out / "tables" / "replication.md").read_text()
    assert all(path.is_file() for path in figures)


def test_an_experiment_runs_on_each_data_set_and_tells_how_they_differ(two: SweepSpec, tmp_path: Path) -> None:
    demonstrations = two.demonstrations.model_copy(update={"seeds": ()})
    one = two.model_copy(update={"demonstrations": demonstrations})
    toy = Experiment(
        "E0", "toy", "A toy", "Does it run?", report=lambda run: Report("", ()), sweeps=lambda preset: [one]
    )
    console = Console(file=io.StringIO())
    show_replicated_plans([toy], "small", tmp_path, [3, 4], "none", console)
    told = str(console.file.getvalue())  # type: ignore[attr-defined]
    assert "fake-data3" in told and "fake-data4" in told and not any(tmp_path.iterdir())
    assert not reproduce_replicates([toy], "small", tmp_path, [3, 4], 0, "none", console)
    assert all((tmp_path / f"data{seed}" / "E0-toy" / "report.md").is_file() for seed in (3, 4))
    table = pd.read_csv(tmp_path / "E0-toy" / "replication.csv")
    assert table[["data_sets", "episodes"]].values.tolist() == [[2, 8]]
    written = [tmp_path / "data4" / "E0-toy" / "report.md", tmp_path / "E0-toy" / "replication.csv"]
    written += [tmp_path / "E0-toy" / "replication.png"]
    for path in written:
        path.unlink()
    report_replicates([toy], "small", tmp_path, [3, 4], "none", console)
    assert all(path.is_file() for path in written)
    # Without the run of a data set, its published episodes count; a report of one data set keeps the others in the table.
    shutil.rmtree(tmp_path / "data3" / "run")
    (tmp_path / "data-of-others").mkdir()
    report_replicates([toy], "small", tmp_path, [4], "none", console)
    table = pd.read_csv(tmp_path / "E0-toy" / "replication.csv")
    assert table[["data_sets", "episodes"]].values.tolist() == [[2, 8]]
