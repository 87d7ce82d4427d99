"""The pages of reference: commands, Python names and the list of all pages, from the code itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import typer.main

import altbench
from altbench.cli.app import app

DOCS = Path(__file__).parent
SECTIONS = {"": "Guides", "tutorials": "Tutorials", "concepts": "Concepts", "generated": "Reference"}
"""Folder of docs/ -> what `llms.txt` calls its pages."""
PYTHON = {
    "Evaluate and run": ("evaluate", "run", "open_run", "load_sweep", "override", "list_sweeps", "Comparison"),
    "Policies": ("list_policies", "make_policy", "Policy", "Trainable", "Requirements", "Observation", "Decision"),
    "Fitting": ("FitContext", "Footprint", "Spec", "Demonstration", "collect", "read_demonstrations"),
    "Tasks": ("list_tasks", "get_task", "TaskInfo", "TaskEnv", "InitialState", "Expert", "register"),
    "Perturbations": ("list_perturbations", "make_perturbation", "Perturbation", "ScenePerturbation"),
    "Checks": ("check_env", "check_policy", "check_perturbation", "AltbenchError"),
}
"""The names of `import altbench as ab` by what they are for."""


def llms(site: Path) -> None:
    """Write `llms.txt` beside the site's pages: each page's title and address, for language models."""
    lines = [
        "# altbench",
        "",
        "> A benchmark suite that tells whether a manipulation policy generalises or recalls.",
        "",
    ]
    for folder, title in SECTIONS.items():
        pages = sorted((DOCS / folder).rglob("*.md") if folder == "generated" else (DOCS / folder).glob("*.md"))
        lines += [f"## {title}", "", *map(_listed, pages), ""]
    site.joinpath("llms.txt").write_text("\n".join(lines), encoding="utf-8")


def _listed(page: Path) -> str:
    title = page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
    return f"- [{title}]({page.relative_to(DOCS).with_suffix('.html')})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + ":--|" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(map(cell, row))} |" for row in rows), ""])


def cell(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split())


def commands() -> str:
    """Return every command with its options, from the commands themselves."""
    parts = ["# Commands", "", "Written from the commands themselves. `altbench COMMAND --help` shows the same.", ""]
    command = typer.main.get_command(app)
    for words, one in _flat(command, ["altbench"]):
        parts += [f"## {' '.join(words)}", "", _help(one), "", "    " + _usage(words, one), "", _options(one)]
    return "\n".join(parts)


def _flat(command: click.Command, words: list[str]) -> Iterator[tuple[list[str], click.Command]]:
    children = getattr(command, "commands", None)
    if not children:
        yield words, command
        return
    for name in command.list_commands(click.Context(command)):  # type: ignore[attr-defined]
        yield from _flat(children[name], [*words, name])


def _help(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "").replace("\b", "")


def _usage(words: Sequence[str], command: click.Command) -> str:
    return " ".join([*words, *command.collect_usage_pieces(click.Context(command))])


def _options(command: click.Command) -> str:
    rows = []
    for param in command.params:
        text = getattr(param, "help", None) or ""
        names = (
            " / ".join([*param.opts, *param.secondary_opts])
            if param.param_type_name == "option"
            else str(param.name).upper()
        )
        rows.append([f"`{names}`", text])
    return table(["argument", "meaning"], rows) if rows else ""


def python() -> str:
    """Return the reference of `import altbench as ab`; every public name is in it."""
    missing = set(altbench.__all__) - {name for names in PYTHON.values() for name in names} - {"__version__"}
    parts = ["# Python", "", "`import altbench as ab` offers these names. Each is loaded when it is first used.", ""]
    sections = {**PYTHON, **({"More": sorted(missing)} if missing else {})}
    for title, names in sections.items():
        parts += [f"## {title}", ""]
        parts += [_documented(name) for name in names]
    return "\n".join(parts)


def _documented(name: str) -> str:
    thing = getattr(altbench, name)
    kind = "autoclass" if inspect.isclass(thing) else "autofunction"
    options = ":members:\n" if inspect.isclass(thing) and not issubclass(thing, Exception) else ""
    where = f"{thing.__module__}.{thing.__qualname__}"
    return f"```{{eval-rst}}\n.. {kind}:: {where}\n" + (f"   {options}" if options else "") + "```\n"
