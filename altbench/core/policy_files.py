"""Policies in a user's own file, named `file.py:Class`."""

from __future__ import annotations

import ast
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

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
        raise ConfigError(f"policy {spec!r}: expected PATH.py:Class, but there is no file {path_text!r}")
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
        bases = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        if bases & {"Policy", "Trainable", *found}:
            found[node.name] = None
    return f"; it defines {', '.join(found)}" if found else ""


@cache
def _load_module(path: Path) -> ModuleType:
    name = f"altbench_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script may call sys.exit
        del sys.modules[name]
        raise ConfigError(f"{path.name} cannot be loaded: {type(error).__name__}: {error}") from error
    return module
