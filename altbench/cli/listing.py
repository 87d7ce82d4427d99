"""`altbench list`: what there is, by name.

The list of everything imports no task, no policy and no experiment: what each of them is
is read from its source.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping

from rich.console import Console

from altbench.core import registry
from altbench.core.docstrings import first_line, module_line
from altbench.core.errors import AltbenchError, UnknownNameError
from altbench.core.registry import Kind
from altbench.core.spec import read_toml
from altbench.system.console import FittingTable, make_console, put, say, show, text_of

LEAST_TEXT = 30
"""Columns that a sentence has at least beside its name."""


def list_everything(kind: str | None) -> None:
    """Print all names of `kind`, or of every kind, each with one sentence."""
    console = make_console()
    if kind is None:
        for title in KINDS:
            _print_names(console, title, names(title))
        say(console, "Details: `altbench list policies`, `altbench show NAME`.")
        return
    if kind not in KINDS:
        raise UnknownNameError("kind of names", kind, KINDS)
    show(console, KINDS[kind]())


def names(kind: str) -> Mapping[str, str]:
    """Return name -> one sentence, for a kind as in `KINDS`; nothing is imported."""
    if kind == "sweeps":
        from altbench.sweeps.spec import BUILT_IN_SWEEPS

        paths = sorted(BUILT_IN_SWEEPS.glob("*.toml"))
        return {path.stem: str(read_toml(path).get("description", "")) for path in paths}
    if kind == "experiments":
        from altbench.experiments import EXPERIMENTS

        lines = {name: module_line(target.partition(":")[0]) for name, target in EXPERIMENTS.items()}
        said = {name: line.removeprefix(f"{name}: ") for name, line in lines.items()}
        return {name: line[:1].upper() + line[1:] for name, line in said.items()}
    one = _KIND_OF[kind]
    return {name: first_line(registry.table(one)[name]) for name in registry.names(one)}


_KIND_OF: dict[str, Kind] = {"tasks": "task", "policies": "policy", "perturbations": "perturbation"}


def _print_names(console: Console, title: str, found: Mapping[str, str]) -> None:
    """Print names in one column and their sentences in another, wrapped."""
    say(console, (title.capitalize(), "bold"))
    left = max(map(len, found), default=0) + 4
    width = max(console.width - left, LEAST_TEXT)
    for name, text in found.items():
        first, *more = textwrap.wrap(text, width) or [""]
        put(console, text_of("  ", (name.ljust(left - 2), "cyan"), first, "\n"))
        for line in more:
            put(console, text_of(" " * left, line, "\n"))


def _tasks() -> FittingTable:
    """Return the tasks; splits that all of them have are said once, in the note."""
    tasks = [registry.task(name) for name in registry.names("task")]
    same = len({task.splits for task in tasks}) == 1
    note = f"Every task has the splits {', '.join(tasks[0].splits)}." if same else ""
    heads = ("task", "horizon", "grid", "arms", "what it is", *(() if same else ("splits",)))
    table, sentences = FittingTable(heads, "Tasks", note, prose=[4, 5]), names("tasks")
    for task in tasks:
        splits = () if same else (", ".join(task.splits),)
        numbers = (f"{task.horizon} steps", f"{task.grid_size} poses", str(task.arms))
        table.add(task.name, *numbers, sentences[task.name], *splits)
    return table


def _policies() -> FittingTable:
    table = FittingTable(("policy", "presets", "what it is"), "Policies", prose=[1, 2])
    for name, sentence in names("policies").items():
        try:
            presets = ", ".join(registry.policy(name).preset_names())
        except AltbenchError as error:  # of another package: the others are still listed
            table.add(name, "", str(error))
            continue
        table.add(name, presets, sentence)
    return table


def _perturbations() -> FittingTable:
    table = FittingTable(("perturbation", "what it is"), "Perturbations (severity 0 to 5)", prose=[1])
    for name, sentence in names("perturbations").items():
        table.add(name, sentence)
    return table


def _sweeps() -> FittingTable:
    from altbench.sweeps.spec import load_sweep

    table = FittingTable(("sweep", "tasks", "rows", "what it is"), "Sweeps", prose=[3])
    for name, sentence in names("sweeps").items():
        sweep = load_sweep(name)
        table.add(name, str(len(sweep.tasks)), str(len(sweep.policies)), sentence)
    return table


def _experiments() -> FittingTable:
    from altbench import experiments

    table = FittingTable(("id", "name", "experiment", "question"), "Experiments", prose=[2, 3])
    for one in experiments.listed():
        table.add(one.id, one.name, one.title, one.question)
    return table


KINDS: dict[str, Callable[[], FittingTable]] = {
    "tasks": _tasks,
    "policies": _policies,
    "perturbations": _perturbations,
    "sweeps": _sweeps,
    "experiments": _experiments,
}
"""The kinds of names, in the order of use, each with its own table."""
