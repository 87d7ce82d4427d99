"""The bytes that results depend on: of files that settings name, and of installed code.

Their digests are part of keys, so that a retrained weights file, or an edited package,
makes new cells.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any

import pydantic

from altbench.core.errors import ConfigError

MOST_FILES = 1000
"""The most files in a folder that settings name: a checkpoint has fewer, a folder of
data or of results has more.
"""
LARGE_BYTES = 1 << 20
"""The size from which a file is hashed once in a process, for as long as its size, time
and inode stay. A smaller one is always read: an edit may keep all three.
"""
LONGEST_PATH = 4096
_HASHED: dict[tuple[str, int, int, int], str] = {}


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file; a large one is read once in a process."""
    found = path.stat()
    known = (str(path), found.st_size, found.st_mtime_ns, found.st_ino)
    if found.st_size < LARGE_BYTES:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    if known not in _HASHED:
        with path.open("rb") as file:
            _HASHED[known] = hashlib.file_digest(file, "sha256").hexdigest()
    return _HASHED[known]


def digest_of(paths: Sequence[Path | str], where: str) -> str:
    """Return a digest of files and folders; empty without any.

    Their order matters, their paths do not. Raise ConfigError, which begins with
    `where`, for one that is missing or cannot be read.
    """
    try:
        found = [_digest(Path(path).expanduser()) for path in paths]
    except FileNotFoundError as error:
        raise ConfigError(f"{where}: it reads the file {error.filename!r}, which is missing") from None
    except OSError as error:
        raise ConfigError(f"{where}: it reads {error.filename!r}: {error.strerror or error}") from None
    return _together(found) if found else ""


def named_in(settings: pydantic.BaseModel) -> tuple[Path, ...]:
    """Return the existing files and folders that settings name, each once.

    Every text counts that is the path of one, from the working directory or from `~`,
    in lists, tables and nested settings too. The working directory itself does not.
    """
    found = dict.fromkeys(path for text in _texts(settings) if (path := _existing(text)))
    return tuple(found)


def source_digest(code: object) -> str:
    """Return the digest of the package or module that holds some code.

    `code`: a module's name, or a class or function. Of a package, all files count but
    hidden ones and Python's caches. Code that stands in no file, such as a notebook's,
    is its own text; empty if that is unknown too. ConfigError if a file cannot be read.
    """
    name = code if isinstance(code, str) else getattr(code, "__module__", type(code).__module__)
    path = _place(name)
    if path is not None:
        return digest_of([path], name)
    try:
        return hashlib.sha256(inspect.getsource(code).encode()).hexdigest()  # type: ignore[arg-type]
    except (OSError, TypeError):
        return ""


def _place(name: str) -> Path | None:
    """Return the folder of the outermost package that a module is in, or its file.

    Namespace packages do not count: several distributions may share one.
    """
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        origin, folders = _found(".".join(parts[:count]))
        if origin is not None:
            return Path(folders[0]) if folders else Path(origin)
    return None


def _found(name: str) -> tuple[str | None, Sequence[str]]:
    """Return the file of a module, None if it has none, and the folders of a package."""
    module: ModuleType | None = sys.modules.get(name)
    # A script has no specification. multiprocessing's workers know it by the second name.
    if name in ("__main__", "__mp_main__"):
        return getattr(module, "__file__", None), ()
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None, ()
    if spec is None or not spec.has_location or spec.origin is None:
        return None, ()
    return spec.origin, list(spec.submodule_search_locations or ())


def _digest(path: Path) -> str:
    if not path.is_dir():
        return file_digest(path)
    return _together((one.relative_to(path).as_posix(), file_digest(one)) for one in _files(path))


def _files(folder: Path) -> Iterator[Path]:
    """Yield a folder's files in order, without hidden ones and Python's caches."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__" and not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if not name.startswith(".") and not name.endswith(".pyc") and path.is_file():
                yield path


def _together(parts: Iterable[object]) -> str:
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()


def _existing(text: str) -> Path | None:
    """Return the file or folder that a text names; None if it names neither.

    Raise ConfigError for a folder of more than `MOST_FILES` files.
    """
    if not text.strip("./~") or len(text) > LONGEST_PATH or "\0" in text:
        return None
    try:
        path = Path(text).expanduser()
        if path.is_dir():
            _check_size(path)
        return path if path.is_file() or path.is_dir() else None
    except (OSError, RuntimeError):  # no file can have this name, or there is no home
        return None


def _check_size(folder: Path) -> None:
    for count, _ in enumerate(_files(folder), 1):
        if count > MOST_FILES:
            raise ConfigError(
                f"{str(folder)!r} is a folder of more than {MOST_FILES:,} files, and keys hold the contents of what the "
                "settings name; name the files that the policy reads, or override its `files`"
            )


def _texts(value: Any) -> Iterator[str]:
    """Yield every text and path in a value, however deep."""
    if isinstance(value, pydantic.BaseModel):
        yield from _texts([getattr(value, name) for name in type(value).model_fields])
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str | PurePath):
        yield str(value)
