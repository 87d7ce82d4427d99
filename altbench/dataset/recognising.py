"""The format and the task of a foreign file, by its own words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from altbench.core import registry
from altbench.core.demonstration import RECOGNISER, Recognised
from altbench.core.errors import ConfigError, DatasetError


@dataclass(frozen=True)
class Recognition:
    """How a file is imported. `words`: what it says of itself; empty if unknown."""

    format_name: str
    task: str
    words: str = ""


def recognise(path: Path, format_name: str | None = None, task: str | None = None) -> Recognition:
    """Return the format and the task of the file `path`; what the user names counts.

    DatasetError if the file does not say what the user left out.
    """
    if format_name is not None:
        registry.check_name("importer", format_name)
    if task is not None:
        registry.check_name("task", task)
    formats = registry.names("importer") if format_name is None else [format_name]
    found = {name: said for name in formats if (said := _said(name, path)) is not None}
    if format_name is None and len(found) != 1:
        raise DatasetError(
            f"{path}: {_unclear(path, list(found))}; name its format with --format ({', '.join(formats)})"
        )
    name = format_name or next(iter(found))
    said = found.get(name, Recognised(""))
    return Recognition(name, task or _task(path, said), said.words)


def _said(format_name: str, path: Path) -> Recognised | None:
    recogniser = getattr(registry.importer(format_name), RECOGNISER, None)
    found: Recognised | None = None if recogniser is None else recogniser(path)
    return found


def _unclear(path: Path, formats: list[str]) -> str:
    if formats:
        return f"expected a file of one format, got words of {' and '.join(formats)}"
    return "expected a file that says what it is" if path.exists() else "expected a file, but it is missing"


def _task(path: Path, said: Recognised) -> str:
    if said.task in registry.names("task"):
        return said.task
    reason = f"it says {said.words}, which is no task of ours" if said.words else "it does not say which task it shows"
    raise ConfigError(f"{path}: {reason}; name one with --task ({', '.join(registry.names('task'))})")
