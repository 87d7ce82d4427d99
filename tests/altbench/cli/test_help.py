"""Every command's help: grouped in the order of use, flags as flags, examples that work, an exit status."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from altbench.cli import app, completion
from altbench.cli.help import ORDER
from altbench.core import registry

MAIN: Any = typer.main.get_command(app.app)


def commands(group: Any = MAIN, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command with its path, groups left out."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def shown(*arguments: str) -> str:
    done = CliRunner().invoke(app.app, [*arguments, "--help"], catch_exceptions=False, env={"COLUMNS": "100"})
    assert done.exit_code == 0
    return done.output


def examples(command: Any) -> list[str]:
    return re.findall(r"^- `(altbench [^`]+)`", command.help or "", re.MULTILINE)


EVERY = [pytest.param(path, command, id=" ".join(path)) for path, command in commands()]


def test_commands_are_grouped_and_stand_in_the_order_of_use() -> None:
    text = shown()
    places = [re.search(rf"│ {name} ", text) for name in ORDER]
    assert all(places) and set(ORDER) == set(MAIN.commands)
    found = [place.start() for place in places if place]
    assert found == sorted(found)
    panels = [text.index(title) for title in ("─ Start here ─", "─ Results ─", "─ More ─")]
    assert panels == sorted(panels)


@pytest.mark.parametrize(("path", "command"), EVERY)
def test_each_command_has_an_example_that_the_command_line_accepts(path: tuple[str, ...], command: Any) -> None:
    found = examples(command)
    assert found, f"altbench {' '.join(path)}: no example in its help"
    for example in found:
        words = shlex.split(example.partition(" > ")[0])[1:]
        assert tuple(words[: len(path)]) == path, example
        assert command.make_context("x", words[len(path) :])  # wrong options and types raise


@pytest.mark.parametrize(("path", "command"), EVERY)
def test_each_help_says_the_exit_status_and_shows_flags_as_flags(path: tuple[str, ...], command: Any) -> None:
    del command
    text = shown(*path)
    words = " ".join(text.lower().split())
    assert "exit status" in words and "bool" not in words


@pytest.mark.parametrize("group", ["", "demos", "envs", "bench", "experiments", "new"])
def test_groups_show_flags_as_flags(group: str) -> None:
    assert "bool" not in shown(*filter(None, [group])).lower()


@pytest.mark.parametrize(
    ("complete", "incomplete", "found"),
    [
        (completion.sweeps, "sm", ["small", "smoke"]),
        (completion.policies, "bc", ["bc", "bc_gmm", "bc_rnn_gmm"]),
        (completion.tasks, "S", ["Square", "Stack"]),
        (completion.kinds, "p", ["policies", "perturbations"]),
        (completion.experiments, "E1", ["E1"]),
        (completion.everything, "li", ["light_colour", "light_direction", "light_strength"]),
        (completion.everything, "zz", []),
    ],
)
def test_names_are_completed(complete: Any, incomplete: str, found: list[str]) -> None:
    assert complete(incomplete) == found


def test_sweeps_in_files_are_completed_as_they_are_spelt(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").touch()
    assert completion.sweeps("mi") == ["mine.toml"] and completion.sweeps("./mi") == ["./mine.toml"]
    assert completion.sweeps("nowhere/mi") == []


def test_completing_all_names_imports_nothing_and_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_resolve", lambda *_: pytest.fail("a completion imported something"))
    began = time.process_time()
    assert len(completion.everything("")) > 50
    assert time.process_time() - began < 0.2


def test_the_shell_gets_the_script_and_the_names() -> None:
    runner = CliRunner()
    words = {"_ALTBENCH_COMPLETE": "complete_bash", "COMP_WORDS": "altbench show di", "COMP_CWORD": "2"}
    done = runner.invoke(app.app, [], prog_name="altbench", env=words)
    assert done.output.split() == ["diffusion", "distractors"]
