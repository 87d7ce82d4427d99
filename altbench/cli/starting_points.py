"""The files that `altbench new` writes, from the templates beside this module."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from altbench.core import registry
from altbench.core.errors import ConfigError
from altbench.core.registry import Kind
from altbench.sweeps.spec import list_sweeps
from altbench.system.files import make_folder

TEMPLATES = Path(__file__).parent / "templates"
"""A folder for each kind. In names and contents `__name__` is the module's name,
`__Class__` the class's, `__Title__` the name as it was given."""
SUFFIX = ".template"
"""The end of the templates' names: so no tool takes them for Python."""


@dataclass(frozen=True)
class _Kind:
    """A kind of starting point.

    `registered`: the names that it may not take. `package`: whether its files go into a
    folder of their own. `advice`: what to do next, as templates.
    """

    registered: Kind | None
    package: bool
    advice: tuple[str, ...]


_INSTALL = "pip install -e __folder__"
_KINDS = {
    "policy": _Kind(
        "policy",
        False,
        ("pytest __test__", "altbench run smoke --policy __file__:__Class__ --only __Class__"),
    ),
    "task": _Kind("task", True, (_INSTALL, "pytest __test__", "altbench demos collect __Title__")),
    "perturbation": _Kind("perturbation", True, (_INSTALL, "pytest __test__", "altbench envs preview")),
    "sweep": _Kind(None, False, ("altbench run __file__ --dry-run", "altbench run __file__")),
}


def write(kind: str, name: str, out: Path) -> tuple[list[Path], list[str]]:
    """Write the starting point `name` of `kind` into `out`.

    Return the files and the commands to try next. ConfigError, and nothing is written, if
    the name is not an identifier or is taken, or if a file exists already.
    """
    _check_name(kind, name)
    chosen, words = _KINDS[kind], _words(name)
    folder = out / words["__name__"] if chosen.package else out
    texts = {
        folder / _filled(path.name.removesuffix(SUFFIX), words): _filled(path.read_text(encoding="utf-8"), words)
        for path in sorted((TEMPLATES / kind).glob(f"*{SUFFIX}"))
    }
    for path in texts:
        if path.exists() or path.is_symlink():
            raise ConfigError(f"{path}: exists already, and nothing is overwritten; choose another name or --out")
    make_folder(folder)
    for path, text in texts.items():
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    return list(texts), _next(chosen, list(texts), folder, words)


def _next(chosen: _Kind, paths: Sequence[Path], folder: Path, words: dict[str, str]) -> list[str]:
    test = next(path for path in paths if path.name.startswith("test_"))
    main = next(path for path in paths if path.stem == words["__name__"])
    spelt = {"__test__": str(test), "__file__": _as_file(main), "__folder__": str(folder), **words}
    return ["next:", *(f"  {_filled(line, spelt)}" for line in chosen.advice)]


def _as_file(path: Path) -> str:
    """Return a path with a slash, which tells a policy's file from a registered name."""
    return str(path) if "/" in str(path) else f"./{path}"


def _check_name(kind: str, name: str) -> None:
    if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name) or keyword.iskeyword(name):
        raise ConfigError(f"{name!r}: expected a Python identifier that begins with a letter, such as MyName")
    registered = _KINDS[kind].registered
    taken = list_sweeps() if registered is None else registry.names(registered)
    if name.lower() in (one.lower() for one in taken):
        raise ConfigError(f"{name!r}: there is a {kind} of that name already; choose another name")
    module = _words(name)["__name__"]
    if kind != "sweep" and (module in sys.stdlib_module_names or _is_installed(module)):
        raise ConfigError(f"{name!r}: the file {module}.py would hide the installed module {module!r}; choose another")


def _is_installed(module: str) -> bool:
    """Return whether a module is installed; one in the working directory is not."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return spec is not None
    return Path(spec.origin).resolve().parent != Path.cwd() and Path(spec.origin).parent.parent.resolve() != Path.cwd()


def _words(name: str) -> dict[str, str]:
    """Return what stands for what in the templates."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    camel = name if name[:1].isupper() and "_" not in name else "".join(p[:1].upper() + p[1:] for p in name.split("_"))
    return {"__name__": snake, "__Class__": camel or "Mine", "__Title__": name}


def _filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text
