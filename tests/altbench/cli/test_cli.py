"""What help texts promise, held to what the commands do."""

from __future__ import annotations

import inspect
import re

import pytest
import typer
from typer.testing import CliRunner

from altbench.cli import app
from altbench.cli.audit import audit
from altbench.measure import policies


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


def test_an_audits_example_names_no_checkpoint_that_nobody_has() -> None:
    assert not re.search(r"-s0-[0-9a-f]{6}", inspect.getdoc(audit) or "")
