"""The scripts in examples/: each runs on the fake task, and one on Lift."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import fakes
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.register()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALTBENCH_CACHE", str(tmp_path / "cache"))
    # Workers are processes that must find the fake task; one that is registered here is not there.
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(Path(fakes.__file__).parent), os.environ.get("PYTHONPATH", "")])
    )


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tested_and_listed() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == {"collect_and_train", "compare_runs", "evaluate_function", "own_policy", "sweep_in_python"}
    readme = (EXAMPLES / "README.md").read_text()
    assert all(f"`{name}.py`" in readme for name in names)


def test_a_function_is_evaluated(capsys: pytest.CaptureFixture[str]) -> None:
    load("evaluate_function").main("Fake", 3)
    assert "hover on Fake, uniform: " in capsys.readouterr().out


def test_an_own_policy_is_checked_and_replays_what_it_was_shown(capsys: pytest.CaptureFixture[str]) -> None:
    load("own_policy").main("Fake", 6, 6)
    assert "nearest_start on Fake, recall: " in capsys.readouterr().out


def test_a_sweep_is_run_and_plotted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load("sweep_in_python").main("Fake", 6, 4, tmp_path / "mine", workers=0)
    assert (tmp_path / "mine" / "mine.png").stat().st_size > 1000
    assert "open_loop" in capsys.readouterr().out


def test_two_runs_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load("compare_runs").main("Fake", 4, tmp_path, workers=0)
    assert "kdtree" in capsys.readouterr().out


def test_a_policy_is_trained_kept_and_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load("collect_and_train").main("Fake", 6, 2, 2, tmp_path / "data")
    shown = capsys.readouterr().out
    assert "2/2 steps, loss" in shown and "bc on Fake, recall: " in shown
    assert (tmp_path / "data" / "Fake.hdf5").is_file()


@pytest.mark.slow
@pytest.mark.sim
def test_the_first_example_runs_on_lift_as_its_readme_says(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "evaluate_function.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "hover on Lift, uniform: 0 of 5 succeed, 0 %" in done.stdout
