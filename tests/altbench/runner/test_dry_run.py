"""Dry runs: what is asked for, what of it is there, and nothing written; what contradicts itself is refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import fakes
import pytest
from rich.console import Console
from running import run_bare
from typer.testing import CliRunner

from altbench.cli import app
from altbench.cli import run as commands
from altbench.core import registry
from altbench.core.errors import AltbenchError, ConfigError, DatasetError
from altbench.engines.start import Engine
from altbench.experiments import reproduce
from altbench.experiments.shared.experiment import Experiment
from altbench.experiments.shared.sections import Report
from altbench.results import history
from altbench.results.run import Run
from altbench.runner import dry_run
from altbench.runner.dry_run import Work
from altbench.sweeps.overrides import override
from altbench.sweeps.spec import SweepSpec

SWEEP: dict[str, Any] = {
    "name": "fake",
    "tasks": ["Fake"],
    "image_size": [32, 32],
    "demonstrations": {"n": 6},
    "policies": [{"policy": "open_loop", "n": [3, 6]}, {"policy": "random", "n": [6]}],
    "evaluations": [{"split": "recall", "episodes": 4}],
}


def sweep(**changes: Any) -> SweepSpec:
    return SweepSpec.parse({**SWEEP, **changes}, "fake.toml")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of open_loop on 3 demonstrations and of random, whose measurements are left."""
    fakes.register()
    root = tmp_path_factory.mktemp("run") / "fake"
    policies = [{"policy": "open_loop", "n": [3]}, {"policy": "random", "n": [6]}]
    run_bare(sweep(policies=policies, measure=False), root)
    return root


@pytest.fixture(autouse=True)
def _no_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "select_backend", lambda: "none")


def shown(root: Path, *sweeps: SweepSpec) -> tuple[list[str], Work]:
    """What the terminal shows of `sweeps`, line by line without borders, and their work."""
    console, work = Console(file=io.StringIO(), width=200), Work()
    for one in sweeps:
        work = dry_run.show_plan(console, Run.open(root, one, "none"), work)
    assert isinstance(console.file, io.StringIO)
    return [" ".join(line.replace("│", " ").split()) for line in console.file.getvalue().splitlines()], work


def test_what_is_there_and_what_is_left_are_told(run: Path) -> None:
    lines, _ = shown(run, sweep())
    assert "fake/open_loop/n3/s0 small done 1 4 1" in lines
    assert "fake/open_loop/n6/s0 small to do 1 4 0" in lines
    assert "fake/random/n6/s0 small nothing to train 1 4 1" in lines
    assert lines[-1] == (
        "2 checkpoints, 3 cells (12 episodes), 3 measurements; done: 1 checkpoint, 2 cells (8 episodes);"
        " left: 1 checkpoint, 1 cell (4 episodes), 3 measurements"
    )


def test_all_and_nothing_are_told_in_words(run: Path, tmp_path: Path) -> None:
    lines, _ = shown(run, sweep(policies=[{"policy": "random", "n": [6]}], measure=False))
    assert lines[-1] == "1 cell (4 episodes); all of it is done"
    lines, _ = shown(tmp_path, sweep())
    assert lines[-1] == "2 checkpoints, 3 cells (12 episodes), 3 measurements; nothing of it is done yet"


def test_what_sweeps_share_is_counted_once(run: Path) -> None:
    both = [{"split": "recall", "episodes": 4}, {"split": "uniform", "episodes": 2}]
    lines, work = shown(run, sweep(), sweep(name="more", evaluations=both), sweep(name="again"))
    assert "fake/open_loop/n3/s0 small listed above 1 2 0" in lines
    assert "more: listed above already: 2 checkpoints, 3 cells (12 episodes), 3 measurements" in lines
    assert lines[-1] == "again: listed above already: 2 checkpoints, 3 cells (12 episodes), 3 measurements"
    assert work.summary().startswith(
        "2 checkpoints, 6 cells (18 episodes), 3 measurements; done: 1 checkpoint, 2 cells (8"
    )


def test_a_dry_run_tells_the_folder_and_writes_nothing(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands.run(sweep(), run, Engine(), True)
    assert "done: 1 checkpoint, 2 cells" in " ".join(capsys.readouterr().out.split())
    commands.run(sweep(), tmp_path / "new", Engine(), True)
    assert "demonstrations of Fake: 6 to collect" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("inside", [False, True])
def test_a_dry_run_refuses_a_file_for_a_folder(tmp_path: Path, inside: bool) -> None:
    file = tmp_path / "file"
    file.write_text("")
    reason = "file is a file" if inside else "a file is there"
    with pytest.raises(AltbenchError, match=f"expected a folder, or a place for one: .*{reason}; choose another --out"):
        commands.run(sweep(), file / "run" if inside else file, Engine(), True)


def test_another_sweep_in_the_folder_is_named_with_the_way_back(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands.run(override(sweep(), episodes=2), run, Engine(), True)
    told = " ".join(capsys.readouterr().out.split())
    assert "holds the sweep 'fake': work that both share is done once" in told
    assert "Tables and figures become those of 'fake-2ep'" in told
    commands.run(sweep(), run, Engine(), True)
    assert "note" not in capsys.readouterr().out


@pytest.mark.parametrize("columns", [60, 80])
def test_rows_can_be_told_apart_on_a_narrow_terminal(tmp_path: Path, columns: int) -> None:
    names = [f"a_policy_with_a_long_name_{i}" for i in range(3)]
    rows = [
        {"policy": "open_loop", "label": name, "n": [3, 6], "config": {"action_horizon": i + 1}}
        for i, name in enumerate(names)
    ]
    console = Console(file=io.StringIO(), width=columns)
    dry_run.show_plan(console, Run.open(tmp_path, sweep(policies=rows), "none"))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "…" not in shown
    cells = "".join(line.split("│")[1].strip() if "│" in line else "\n" for line in shown.splitlines())
    for name in names:
        for n in (3, 6):
            assert f"fake/{name}/n{n}/s0" in cells


def test_a_dry_run_refuses_a_file_of_demonstrations_that_is_not_there(tmp_path: Path) -> None:
    given = {"n": 6, "file": str(tmp_path / "gone.hdf5")}
    with pytest.raises(DatasetError, match=r"gone\.hdf5: there is no such file"):
        shown(tmp_path, sweep(demonstrations=given))


def test_demonstrations_of_another_kind_are_told(run: Path) -> None:
    opened = Run.open(run, sweep(image_size=[24, 24]), "none")
    assert opened.root == run and len(opened.lacking) == 1
    assert "demonstrations of Fake: " in opened.lacking[0] and "the sweep wants (24, 24)" in opened.lacking[0]


def test_experiments_end_with_one_total(run: Path) -> None:
    def experiment(name: str) -> Experiment:
        return Experiment(name, name, name, name, lambda *_: Report("", ()), lambda _: [sweep(name=name)])

    console = Console(file=io.StringIO(), width=200)
    reproduce.show_plans([experiment("E1"), experiment("E2")], "small", run.parent, "none", console)
    assert isinstance(console.file, io.StringIO)
    # The experiments' runs lie in OUT/run, where there is nothing.
    lines = console.file.getvalue().splitlines()
    assert "in all: 2 checkpoints, 3 cells (12 episodes), 3 measurements; nothing of it is done yet" in lines
    # What the second experiment shares with the first takes no time again.
    assert sum("left: about " in line for line in lines) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["reproduce", "E3", "--all"], "E3 and --all contradict each other"),
        (["reproduce"], "name experiments, or say --all"),
        (["reproduce", "E3", "--report-only", "--dry-run"], "--report-only .* and --dry-run .* contradict each other"),
        (["demos", "collect", "Lift", "--all"], "Lift and --all contradict each other"),
        (["demos", "collect", "--all", "--out", "x"], "--out names one file and --all collects one for each task"),
        (["demos", "collect"], "expected a task, such as Lift, or --all"),
    ],
)
def test_arguments_that_contradict_each_other_are_named(arguments: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        CliRunner().invoke(app.app, arguments, catch_exceptions=False)


def test_a_changed_sweep_names_the_folder_whose_work_it_could_take_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    said = "this takes over what is done there"
    changed = override(sweep(), episodes=2)
    commands.run(changed, None, Engine(), True, sweep().name)
    assert said not in " ".join(capsys.readouterr().out.split())
    history.keep(sweep(), tmp_path / "results" / sweep().name)
    commands.run(changed, None, Engine(), True, sweep().name)
    assert said in " ".join(capsys.readouterr().out.split())
    commands.run(sweep(), None, Engine(), True, sweep().name)
    assert said not in " ".join(capsys.readouterr().out.split())
