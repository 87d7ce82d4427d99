"""What help texts promise, held to what the commands do."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from altbench import experiments
from altbench.cli import app
from altbench.cli.audit import audit
from altbench.core.errors import ConfigError
from altbench.experiments import reproduce
from altbench.measure import policies
from altbench.system import devices


@pytest.mark.parametrize("preset", ["small", "paper"])
def test_the_benchs_default_policies_are_those_of_its_help(monkeypatch: pytest.MonkeyPatch, preset: str) -> None:
    measured: list[str] = []
    monkeypatch.setattr(policies, "policies", lambda _console, _preset, names, *_: measured.extend(names))
    CliRunner().invoke(app.app, ["bench", "policies", "--preset", preset, "--device", "cpu"], catch_exceptions=False)
    command = typer.main.get_command(app.app).commands["bench"].commands["policies"]  # type: ignore[attr-defined]
    told = next(option.help for option in command.params if option.name == "policy").partition("default ")[2]
    always, _, paper = told.partition(", and with --preset paper also ")
    assert paper == "alt:compact"
    assert measured == [*always.split(", "), *([paper] if preset == "paper" else [])]


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["reproduce", "--list"], "show_list"),
        (["experiments", "list"], "show_list"),
        (["reproduce", "E3", "--dry-run"], "show_plans"),
        (["experiments", "plan", "E3"], "show_plans"),
        (["reproduce", "E3", "--report-only"], "report"),
        (["experiments", "report", "E3"], "report"),
        (["reproduce", "E3", "--preset", "small"], "reproduce"),
        (["experiments", "run", "E3"], "reproduce"),
    ],
)
def test_each_command_of_experiments_has_its_old_spelling(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], command: str
) -> None:
    called: list[tuple[str, object]] = []
    for name in ("show_list", "show_plans", "report", "reproduce"):
        monkeypatch.setattr(reproduce, name, lambda first, *_, name=name: called.append((name, first)))
    monkeypatch.setattr(devices, "require_renderer", lambda: "none")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app.app, arguments, catch_exceptions=False)
    ((name, first),) = called
    assert result.exit_code == 0 and name == command
    ids = [one.id for one in (first if isinstance(first, list) else [first])]
    assert ids == (list(experiments.EXPERIMENTS) if command == "show_list" else ["E3"])


@pytest.mark.parametrize("command", ["run", "report", "plan"])
def test_experiments_are_named_or_all_meant_but_not_both(command: str) -> None:
    for arguments, message in (([], "name experiments, or say --all"), (["E3", "--all"], "E3 and --all contradict")):
        with pytest.raises(ConfigError, match=message):
            CliRunner().invoke(app.app, ["experiments", command, *arguments], catch_exceptions=False)


def test_an_audits_example_names_no_checkpoint_that_nobody_has() -> None:
    assert not re.search(r"-s0-[0-9a-f]{6}", inspect.getdoc(audit) or "")
