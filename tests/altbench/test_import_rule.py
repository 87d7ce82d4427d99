"""Who may import whom (the design's import rule), read from the source; and how little `import altbench` loads."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = ("altbench_envs", "altbench_policies", "altbench_demos")
ALLOWED = {"altbench.api", "altbench.errors", "altbench.config"}
HEAVY = ("torch", "robosuite", "mujoco", "faiss", "pandas", "matplotlib", "diffusers")


def sources(package: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    return sorted(Path(spec.origin).parent.rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            if node.module == "altbench":
                yield from (f"altbench.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("package", PLUGINS)
def test_tasks_policies_and_experts_know_the_contracts_alone(package: str) -> None:
    for path in sources(package):
        ours = {name for name in imported(path) if name.split(".")[0] in ("altbench", *PLUGINS)}
        own = {name for name in ours if name.split(".")[0] == package}
        assert ours - own <= ALLOWED, f"{path.name} imports {sorted(ours - own - ALLOWED)}"


def test_the_bench_names_no_task_and_no_policy_but_in_the_registry() -> None:
    for path in sources("altbench"):
        found = [name for name in imported(path) if name.split(".")[0] in PLUGINS]
        assert not found, f"{path.name} imports {found}"
        if path.name != "registry.py":
            text = path.read_text()
            assert not [p for p in PLUGINS if p in text], f"{path.name} names one of {PLUGINS}"


@pytest.mark.parametrize("name", ["api", "errors"])
def test_the_contracts_import_nothing_of_ours(name: str) -> None:
    path = next(p for p in sources("altbench") if p.stem == name)
    assert not [m for m in imported(path) if m.split(".")[0] in ("altbench", *PLUGINS)]


@pytest.mark.parametrize("statement", ["import altbench", "import altbench.cli", "import altbench_envs.lift"])
def test_nothing_heavy_is_loaded_at_import(statement: str) -> None:
    code = f"{statement}; import sys; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
