"""The modules in a policy file's own folder: which of them it imports, and importing them.

A policy file and its neighbours become a package of their own, whose name depends on
their bytes. An absolute import of a neighbour is read as a relative one. So `helper`
beside one policy is another module than `helper` beside a second one, and an edited
file is loaded again.

Which neighbours there are is read from import statements, without running anything,
since their bytes are part of a run's keys. No other neighbour can be imported.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from altbench.core.contents import file_digest

SUFFIXES = (*EXTENSION_SUFFIXES, ".py")
"""How a module's file may end, in Python's order."""
UNSEEN = "_altbench_submodule"
"""The name to which the rewritten `import a.b` binds `b`; Python binds `a` alone."""


@dataclass(frozen=True)
class Neighbours:
    """What a policy file imports from its own folder.

    `file`: the policy's, absolute. `modules`: dotted name, from the folder -> file; a
    folder without `__init__.py` stands for itself. `digest`: the SHA-256 of the policy
    file, or of it and its neighbours if it has any, when they were found.
    """

    file: Path
    modules: dict[str, Path]
    digest: str

    @property
    def package(self) -> str:
        """The name of the package that holds the policy file and its neighbours."""
        return f"altbench_user_{hashlib.sha256(f'{self.file} {self.digest}'.encode()).hexdigest()[:16]}"


def find_neighbours(file: Path) -> Neighbours:
    """Return the neighbours that `file` imports, directly or through each other."""
    file, found = file.resolve(), dict[str, Path]()
    waiting: list[tuple[Path, Sequence[str]]] = [(file, ())]
    while waiting:
        path, package = waiting.pop()
        for name in _imported(path, file.parent, package):
            place = _locate(file.parent, name)
            if place is None or place == file or name in found:
                continue
            found[name] = place
            waiting.append((place, _package_of(name, place)))
    return Neighbours(file, found, _digest(file, found))


def _digest(file: Path, modules: dict[str, Path]) -> str:
    own = file_digest(file)
    others = {path for path in modules.values() if path.is_file()}
    if not others:
        return own  # the key of a policy in one file stays what it always was
    named = sorted((path.relative_to(file.parent).as_posix(), file_digest(path)) for path in others)
    return hashlib.sha256(json.dumps([own, named]).encode()).hexdigest()


def load(neighbours: Neighbours) -> ModuleType:
    """Return the policy file's module; it is executed once for the same bytes.

    Whatever the file raises is raised, and nothing of it stays imported.
    """
    file, package = neighbours.file, neighbours.package
    name = f"{package}.{file.stem.replace('.', '_')}"
    if name in sys.modules:
        return sys.modules[name]
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    _LOADED[package] = neighbours
    root = ModuleType(package, f"The policy file {file} and its neighbours.")
    root.__path__ = []  # no folder, so that `_Finder` alone finds what is inside
    sys.modules[package] = root
    spec = importlib.util.spec_from_file_location(name, file, loader=_Loader(name, str(file)))
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del _LOADED[package]
        for one in [one for one in sys.modules if one == package or one.startswith(f"{package}.")]:
            del sys.modules[one]
        raise
    return module


_LOADED: dict[str, Neighbours] = {}
"""Each package that this process made, and what is in it."""


class _Finder(MetaPathFinder):
    """The finder of the modules inside the packages that `load` makes."""

    def find_spec(self, fullname: str, _path: object, _target: object = None, /) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        if package not in _LOADED or not name:
            return None
        neighbours = _LOADED[package]
        place = neighbours.modules.get(name)
        if place is None:
            if _locate(neighbours.file.parent, name) is None:
                return None
            raise ModuleNotFoundError(
                f"{name!r} beside {neighbours.file.name} is not named by an import statement, so that its bytes would be "
                f"missing from a run's keys; write `import {name}`",
                name=fullname,
            )
        return _spec(fullname, place)


def _spec(name: str, place: Path) -> ModuleSpec:
    """Return how to load a neighbour: source, compiled, or a folder."""
    if place.is_dir():
        made = ModuleSpec(name, None, is_package=True)
        made.submodule_search_locations = []
        return made
    kind = _Loader if place.suffix == ".py" else ExtensionFileLoader
    inside: list[str] | None = [] if place.name == "__init__.py" else None
    found = importlib.util.spec_from_file_location(
        name, place, loader=kind(name, str(place)), submodule_search_locations=inside
    )
    assert found is not None
    return found


class _Loader(SourceFileLoader):
    """A loader that reads absolute imports of neighbours as relative ones."""

    def get_code(self, fullname: str) -> CodeType:
        """Compile the rewritten source; never from or into `__pycache__`.

        Python itself shares that cache, and must find the file as it is written.
        """
        neighbours = _LOADED[fullname.partition(".")[0]]
        path = Path(self.path)
        name = fullname.partition(".")[2]
        package = () if path == neighbours.file else _package_of(name, path)
        tree = ast.parse(path.read_bytes(), str(path))
        rewritten = _Rewrite(neighbours.file.parent, len(package) + 1).visit(tree)
        code: CodeType = compile(ast.fix_missing_locations(rewritten), str(path), "exec", dont_inherit=True)
        return code


class _Rewrite(ast.NodeTransformer):
    """Absolute imports of neighbours become relative ones.

    `level`: how many dots lead from the module to the policy file's folder.
    """

    def __init__(self, folder: Path, level: int) -> None:
        self._folder, self._level = folder, level

    def visit_Import(self, node: ast.Import) -> Any:
        made: list[ast.stmt] = []
        for alias in node.names:
            parent, _, last = alias.name.rpartition(".")
            if not _is_neighbour(self._folder, alias.name):
                made.append(ast.Import([alias]))
            elif not parent or alias.asname:
                made.append(ast.ImportFrom(parent or None, [ast.alias(last, alias.asname)], self._level))
            else:
                made.append(ast.ImportFrom(parent, [ast.alias(last, UNSEEN)], self._level))
                made.append(ast.ImportFrom(None, [ast.alias(alias.name.partition(".")[0])], self._level))
        return [ast.copy_location(one, node) for one in made]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:
        if not node.level and node.module and _is_neighbour(self._folder, node.module):
            return ast.copy_location(ast.ImportFrom(node.module, node.names, self._level), node)
        return node


def _imported(path: Path, folder: Path, package: Sequence[str]) -> Iterator[str]:
    """Yield the dotted names, from `folder`, that a module may import from there.

    `package`: the names of the package that the module is in.
    """
    if path.suffix != ".py" or not path.is_file():
        return
    for node in _import_statements(path.read_bytes()):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if _is_neighbour(folder, alias.name):
                    yield from _and_parents(alias.name)
        else:
            base = _base(node, folder, package)
            if base is not None:
                for alias in node.names:
                    yield from _and_parents(".".join([*base, alias.name]))


@lru_cache(maxsize=256)
def _import_statements(source: bytes) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """Return the import statements of a module, which is parsed once for the same bytes.

    Empty for what is no Python: loading it says so. Which of them name a neighbour depends
    on the folder as well, and is looked up each time.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return ()
    return tuple(node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))


def _base(node: ast.ImportFrom, folder: Path, package: Sequence[str]) -> list[str] | None:
    """Return what a `from` import imports from, as names from `folder`; None if it is
    not inside.
    """
    named = node.module.split(".") if node.module else []
    if not node.level:
        return named if _is_neighbour(folder, named[0]) else None
    if node.level - 1 > len(package):
        return None
    return [*package[: len(package) - node.level + 1], *named]


def _and_parents(name: str) -> Iterator[str]:
    """Yield `a`, `a.b` and `a.b.c` for `a.b.c`: importing it imports all of them."""
    parts = name.split(".")
    return (".".join(parts[: count + 1]) for count in range(len(parts)))


def _is_neighbour(folder: Path, name: str) -> bool:
    """Return whether an absolute import of `name` means a module in `folder`.

    The standard library comes first. A module's file or a package in the folder comes
    before what is installed, as for a script. Two kinds come after it: a folder without
    `__init__.py`, which may have a package's name only by chance, and altbench's
    packages: a second copy would be another `Policy`.
    """
    top = name.partition(".")[0]
    place = _locate(folder, top)
    if place is None or top in sys.stdlib_module_names:
        return False
    if place.is_file() and not top.startswith("altbench"):
        return True
    try:
        installed = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        installed = None
    return installed is None or installed.origin is None


def _locate(folder: Path, name: str) -> Path | None:
    """Return the file of a module, or the folder of a package without `__init__.py`."""
    place = folder.joinpath(*name.split("."))
    for path in (place / "__init__.py", *(place.with_name(place.name + suffix) for suffix in SUFFIXES)):
        if path.is_file():
            return path
    return place if place.is_dir() else None


def _package_of(name: str, place: Path) -> Sequence[str]:
    """Return the names of the package that a module is in; a package is in itself."""
    parts = name.split(".")
    return parts if place.is_dir() or place.name == "__init__.py" else parts[:-1]
