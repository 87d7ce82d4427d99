"""Policies in a user's own file, named `file.py:Class`.

The file may import the modules beside it.
"""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType
from typing import Any

from altbench.core import neighbours
from altbench.core.errors import ConfigError, UnknownNameError
from altbench.core.policy import Policy


def load(spec: str) -> Any:
    """Return the attribute that `file.py:Class` names; the caller checks what it is.

    Raises ConfigError if the file or the class is missing, or if the file cannot be
    loaded.
    """
    path_text, _, attribute = spec.rpartition(":") if ":" in spec else (spec, "", "")
    path = Path(path_text)
    if not path.is_file():
        place = "" if path.is_absolute() else f" in the working directory, {Path.cwd()}"
        raise ConfigError(f"policy {spec!r}: expected PATH.py:Class, but there is no file {path_text!r}{place}")
    if not attribute:
        raise ConfigError(f"policy {spec!r}: expected PATH.py:Class{_defined_in(path)}")
    module = _load_module(path.resolve())
    if not hasattr(module, attribute):
        classes = [k for k, v in vars(module).items() if isinstance(v, type) and issubclass(v, Policy)]
        raise UnknownNameError(f"class in {path.name}", attribute, classes)
    return getattr(module, attribute)


def _defined_in(path: Path) -> str:
    """Return `; it defines A, B`, the policies of a file; empty if it defines none.

    They are found by their bases' names, without running the file.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return ""
    found: dict[str, None] = {}
    for node in [node for node in tree.body if isinstance(node, ast.ClassDef)]:
        bases = {ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases}
        if bases & {"Policy", "Trainable", *found}:
            found[node.name] = None
    return f"; it defines {', '.join(found)}" if found else ""


def digest(spec: str) -> str:
    """Return the SHA-256 of the file that `file.py:Class` names: its policy's version.

    It covers the modules that the file imports from its own folder.
    """
    return neighbours.find_neighbours(Path(spec.rpartition(":")[0])).digest


def _load_module(path: Path) -> ModuleType:
    try:
        return neighbours.load(neighbours.find_neighbours(path))
    except (Exception, SystemExit) as error:  # a script may call sys.exit
        hint = ""
        if isinstance(error, ModuleNotFoundError):
            hint = f"; a policy file may import what is installed, and the modules in its own folder, {path.parent}"
        raise ConfigError(f"{path.name} cannot be loaded: {type(error).__name__}: {error}{hint}") from error
