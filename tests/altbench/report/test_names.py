"""Reports know policies by data alone: no module of report or stats names one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import altbench
from altbench.core import registry

FOLDER = Path(altbench.__file__).parent


def literals(path: Path) -> set[str]:
    """Every string in a file's code that is not part of a longer one."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@pytest.mark.parametrize("package", ["report", "stats"])
def test_no_module_names_a_policy_or_a_task(package: str) -> None:
    names = {*registry.BUILT_IN["policy"], *registry.BUILT_IN["task"], *registry.BUILT_IN["perturbation"]}
    for path in sorted((FOLDER / package).glob("*.py")):
        assert not literals(path) & names, path.name
