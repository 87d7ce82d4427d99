"""How all commands show their help: flags as flags, an exit status, panels in the order of use."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

STATUS = "Exit status: 0, done; 1, something failed; 2, wrong input; 130, stopped by Ctrl-C."
"""The end of each command's help that does not explain its exit status itself."""
START, RESULTS, MORE = "Start here", "Results", "More"
"""The panels of `altbench --help`, in the order of use."""
ORDER = (
    *("doctor", "run", "list", "show", "new", "check-policy", "adapt"),
    *("report", "compare", "redraw", "video", "audit", "certify", "submit", "leaderboard"),
    *("demos", "envs", "bench", "experiments", "reproduce", "serve", "worker"),
)
"""The commands in the order of use; it puts the panels in order, too."""


def _flags_without_type(params: list[Any]) -> list[Any]:
    """Return a command's parameters; those that take no value show none.

    Typer prints `--dry-run <bool>`, as if a flag took a value.
    """
    for param in params:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
    return params


class Command(TyperCommand):
    """A command whose help shows flags as flags."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, the help option included."""
        return _flags_without_type(super().get_params(ctx))


class Group(TyperGroup):
    """A group of commands whose help shows flags as flags."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, the help option included."""
        return _flags_without_type(super().get_params(ctx))


class MainGroup(Group):
    """The commands in the order of use, whatever file they come from."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of `ORDER`, and others after them."""
        found = super().list_commands(ctx)
        return sorted(found, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


class App(typer.Typer):
    """A group of commands whose help is as this module says."""

    def __init__(self, **options: Any) -> None:
        defaults = {"cls": Group, "no_args_is_help": True, "rich_markup_mode": "markdown", "add_completion": False}
        super().__init__(**{**defaults, **options})

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """Return what registers a function as a command, as `typer.Typer.command` does.

        It evaluates the function's annotations, which are text. Typer would do so four
        times for each command whenever it builds them, to run a single one.
        """

        def register(function: Any) -> Any:
            function.__annotations__ = inspect.get_annotations(function, eval_str=True)
            said = "exit status" in (function.__doc__ or "").lower()
            defaults = {"cls": Command, "epilog": None if said else STATUS}
            return super(App, self).command(name, **{**defaults, **options})(function)

        return register
