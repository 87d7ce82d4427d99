"""demos/README.md: every command is one that the bench understands, every piece of Python runs, every name is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import fakes
import pytest
import typer.main

import altbench.api
from altbench import dataset
from altbench.cli.app import app

README = (Path(__file__).parents[2] / "demos" / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    (altbench .*?)(?:\s+#.*)?$", README, flags=re.MULTILINE)
PYTHON = re.findall(r"^( *)```python\n(.*?)^ *```$", README, flags=re.DOTALL | re.MULTILINE)


def test_it_shows_every_command() -> None:
    shown = {shlex.split(command)[2] for command in COMMANDS}
    assert shown == {"collect", "info", "sheet", "play", "validate", "manifest", "import", "export"}


@pytest.mark.parametrize("text", COMMANDS)
def test_the_bench_understands_the_command(text: str) -> None:
    command: click.Command = typer.main.get_command(app)
    arguments, context = shlex.split(text)[1:], None
    while hasattr(command, "resolve_command"):
        context = command.make_context("altbench", arguments, parent=context)
        _, command, arguments = command.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context("altbench", arguments, parent=context)  # refuses what it does not know


def test_its_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.register()
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for indent, code in PYTHON:
        exec(
            compile(re.sub(f"^{indent}", "", code, flags=re.MULTILINE).replace("Lift", "Fake"), "README.md", "exec"),
            names,
        )
    assert len(names["ten"]) == 10 and (tmp_path / "data" / "Fake.hdf5").is_file()
    assert {"reset", "act"} <= vars(names["MyExpert"]).keys()


def test_the_names_that_it_mentions_exist() -> None:
    for module, name in re.findall(r"`altbench\.(api|dataset)\.(\w+)", README):
        assert hasattr({"api": altbench.api, "dataset": dataset}[module], name), f"altbench.{module}.{name}"
    assert hasattr(altbench, "register")
