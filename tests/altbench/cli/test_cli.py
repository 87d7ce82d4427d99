"""What help texts promise, held to what the commands do."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from altbench import experiments
from altbench.cli import app
from altbench.cli.audit import audit
from altbench.core.errors import ConfigError
from altbench.experiments import reproduce
from altbench.measure import policies, speed
from altbench.system import devices


def help_of(command: str, option: str) -> str:
    """Return the help text of an option of `altbench bench`."""
    found = typer.main.get_command(app.app).commands["bench"].commands[command]  # type: ignore[attr-defined]
    return str(next(one.help for one in found.params if one.name == option)).removesuffix(".")


@pytest.mark.parametrize("preset", ["small", "published_size", "paper"])
def test_the_benchs_default_policies_are_those_of_its_help(monkeypatch: pytest.MonkeyPatch, preset: str) -> None:
    measured: list[str] = []
    monkeypatch.setattr(policies, "policies", lambda _console, _preset, names, *_: measured.extend(names))
    CliRunner().invoke(app.app, ["bench", "policies", "--preset", preset, "--device", "cpu"], catch_exceptions=False)
    told = help_of("policies", "policy").partition("default ")[2]
    always, _, paper = told.partition(", and with --preset published_size also ")
    assert paper == "alt:compact"
    assert measured == [*always.split(", "), *([paper] if preset != "small" else [])]


def test_the_benchs_default_task_is_that_of_its_help(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[str] = []
    monkeypatch.setattr(speed, "rollout", lambda _console, task, *_: played.append(task))
    CliRunner().invoke(app.app, ["bench", "rollout"], catch_exceptions=False)
    assert help_of("rollout", "task").endswith(f"default {played[0]}")


DATA_SEEDS = ("--data-seed", "3", "--data-seed", "4", "--data-seed", "3")


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["reproduce", "E3", "--dry-run"], "show_plans"),
        (["experiments", "plan", "E3"], "show_plans"),
        (["reproduce", "E3", "--report-only"], "report"),
        (["experiments", "report", "E3"], "report"),
        (["reproduce", "E3", "--preset", "small"], "reproduce"),
        (["experiments", "run", "E3"], "reproduce"),
        (["reproduce", "E3", "--dry-run", *DATA_SEEDS], "show_replicated_plans"),
        (["experiments", "plan", "E3", *DATA_SEEDS], "show_replicated_plans"),
        (["reproduce", "E3", "--report-only", *DATA_SEEDS], "report_replicates"),
        (["experiments", "report", "E3", *DATA_SEEDS], "report_replicates"),
        (["experiments", "run", "E3", *DATA_SEEDS], "reproduce_replicates"),
    ],
)
def test_each_command_of_experiments_has_its_old_spelling(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], command: str
) -> None:
    called: list[tuple[str, object, tuple[object, ...]]] = []
    one_data_set = ("show_plans", "report", "reproduce")
    for name in (*one_data_set, "show_replicated_plans", "report_replicates", "reproduce_replicates"):
        monkeypatch.setattr(reproduce, name, lambda first, *rest, name=name: called.append((name, first, rest)))
    monkeypatch.setattr(devices, "require_renderer", lambda: "none")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app.app, arguments, catch_exceptions=False)
    ((name, first, rest),) = called
    assert result.exit_code == 0 and name == command
    assert ([3, 4] in rest) == ("--data-seed" in arguments)
    assert [one.id for one in (first if isinstance(first, list) else [first])] == ["E3"]


def test_the_list_of_experiments_has_its_old_spelling() -> None:
    old, new, listed = (
        CliRunner().invoke(app.app, words, catch_exceptions=False).output
        for words in (["reproduce", "--list"], ["experiments", "list"], ["list", "experiments"])
    )
    assert old == new == listed and all(identity in new for identity in experiments.EXPERIMENTS)


@pytest.mark.parametrize("command", ["run", "report", "plan"])
def test_experiments_are_named_or_all_meant_but_not_both(command: str) -> None:
    for arguments, message in (([], "name experiments, or say --all"), (["E3", "--all"], "E3 and --all contradict")):
        with pytest.raises(ConfigError, match=message):
            CliRunner().invoke(app.app, ["experiments", command, *arguments], catch_exceptions=False)


def test_an_audits_example_names_no_checkpoint_that_nobody_has() -> None:
    assert not re.search(r"-s0-[0-9a-f]{6}", inspect.getdoc(audit) or "")


@pytest.mark.parametrize("module", ["altbench", "altbench.cli"])
def test_the_command_line_runs_as_a_module(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"altbench {version('altbench')}\n"
