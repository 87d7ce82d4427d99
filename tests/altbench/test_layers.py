"""Who may import whom (the design's import rule), read from the source; and how little `import altbench` loads."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from altbench.core import registry

PLUGINS = ("altbench_envs", "altbench_policies", "altbench_demos")
ORDER = (
    "core",
    "system",
    "rollout",
    "checks",
    "dataset",
    "remote",
    "adapters",
    "sweeps",
    "results",
    "stats",
    "report",
    "page",
    "measure",
    "runner",
    "sinks",
    "engines",
    "adapting",
    "audit",
    "submissions",
    "experiments",
    "cli",
)
"""altbench's packages: each imports only itself and those before it."""
MOST_MODULES = 20
STILL_NAMES_POLICIES: tuple[str, ...] = ()
"""Packages that still name tasks or policies; to be emptied."""
HEAVY = ("torch", "robosuite", "mujoco", "faiss", "pandas", "matplotlib", "diffusers")


def folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


def sources(package: str) -> list[Path]:
    return sorted(folder(package).rglob("*.py"))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """The syntax tree of a file, flat; several tests read the same files."""
    return tuple(ast.walk(ast.parse(path.read_text())))


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            if node.module == "altbench":
                yield from (f"altbench.{alias.name}" for alias in node.names)
            else:
                yield node.module


def test_every_package_has_its_place_in_the_order() -> None:
    packages = {path.name for path in folder("altbench").iterdir() if (path / "__init__.py").is_file()}
    assert packages == set(ORDER)


def test_a_package_imports_only_those_before_it() -> None:
    for path in sources("altbench"):
        own = path.relative_to(folder("altbench")).parts[0]
        for name in imported(path) if own in ORDER else ():
            other = name.split(".")[1] if name.startswith("altbench.") else ""
            assert other != "api", f"{path}: altbench.api is for plug-ins; import from core"
            assert other not in ORDER or ORDER.index(other) <= ORDER.index(own), f"{path}: imports {name}"


@pytest.mark.parametrize("package", PLUGINS)
def test_plug_ins_import_the_api_alone(package: str) -> None:
    for path in sources(package):
        ours = {name for name in imported(path) if name.split(".")[0] in ("altbench", *PLUGINS)}
        own = {name for name in ours if name.split(".")[0] == package}
        assert ours - own <= {"altbench.api"}, f"{path.name} imports {sorted(ours - own)}"


@pytest.mark.parametrize("package", ["altbench", *PLUGINS])
def test_no_folder_is_crowded(package: str) -> None:
    for place in {path.parent for path in sources(package)}:
        modules = [path for path in place.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= MOST_MODULES, f"{place}: {len(modules)} modules"


def literals(path: Path) -> Iterator[str]:
    """Every string literal of a file but its docstrings (of modules, classes, functions and constants)."""
    bodies = [node.body for node in nodes(path) if isinstance(getattr(node, "body", None), list)]
    docstrings = {id(s.value) for body in bodies for s in body if isinstance(s, ast.Expr)}
    for node in nodes(path):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def test_the_bench_names_no_task_and_no_policy_in_its_code() -> None:
    names = {name for kind in ("task", "policy") for name in registry.BUILT_IN[kind]}
    found = []
    for path in sources("altbench"):
        own = path.relative_to(folder("altbench"))
        if own.parts[0] not in ("experiments", *STILL_NAMES_POLICIES) and own != Path("core/registry.py"):
            # A policy may also bring its preset, as in "alt:compact".
            found += [
                f"{own}: {text!r}" for text in literals(path) if text.partition(":")[0] in names and " " not in text
            ]
    assert not found, "only the registry, sweeps and experiments name tasks and policies"


def test_string_literals_are_found_and_docstrings_are_not(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text('"""bc"""\nX = ["alt"]\n"""act"""\ndef f(a="Lift"):\n    """Can"""\n    return f"sb3"\n')
    assert sorted(literals(path)) == ["Lift", "alt", "sb3"]


def test_the_bench_imports_no_plug_in_but_by_the_registry() -> None:
    for path in sources("altbench"):
        found = [name for name in imported(path) if name.split(".")[0] in PLUGINS]
        assert not found, f"{path.name} imports {found}"
        if path.name != "registry.py":
            text = path.read_text()
            assert not [p for p in PLUGINS if p in text], f"{path.name} names one of {PLUGINS}"


@pytest.mark.parametrize("statement", ["import altbench", "import altbench.cli", "import altbench_envs.tasks.lift"])
def test_nothing_heavy_is_loaded_at_import(statement: str) -> None:
    code = f"{statement}; import sys; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_run_is_planned_without_what_draws_its_figures() -> None:
    code = (
        "import altbench.runner.main, sys; print(*[m for m in ('torch', 'matplotlib', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
