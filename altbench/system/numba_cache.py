"""Where numba keeps compiled code.

numba writes it beside the source, or else into the user's cache folder. If it can write
neither, importing a compiled function raises an error, also for robosuite's. Then
another folder is named to it, before it is imported.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path

from altbench.system.cache import usable, user_cache

VARIABLE = "NUMBA_CACHE_DIR"
COMPILED = ("altbench.stats", "robosuite.utils")
"""The packages whose modules have functions that numba caches.

The tasks have some as well; they are installed beside altbench.
"""


def choose_numba_cache() -> Path | None:
    """Set `NUMBA_CACHE_DIR` if numba could write nowhere; return the folder set.

    None if nothing had to be set. Worker processes inherit the variable.
    """
    if os.environ.get(VARIABLE) or not unwritable_sources() or _user_folder_usable():
        return None
    folder = _private_folder()
    os.environ[VARIABLE] = str(folder)
    config = sys.modules.get("numba.core.config")
    if config is not None:  # it has read the variable already
        config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
    return folder


def unwritable_sources() -> list[Path]:
    """Return the folders of `COMPILED` beside whose modules nothing can be written."""
    return [folder for folder in map(_source_folder, COMPILED) if folder is not None and not writable(folder)]


def writable(folder: Path) -> bool:
    """Return whether files can be made in `folder`'s `__pycache__`, or in `folder`."""
    cache = folder / "__pycache__"
    return os.access(cache if cache.is_dir() else folder, os.W_OK | os.X_OK)


def _source_folder(package: str) -> Path | None:
    """Return a package's folder without importing it; None if it is not installed."""
    first, *rest = package.split(".")
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent.joinpath(*rest)


def _user_folder_usable() -> bool:
    """Return whether numba's folder in the user's cache can be made and written."""
    shared = user_cache()
    return shared is not None and usable(shared / "numba")  # made, as numba does: only trying tells


def _private_folder() -> Path:
    """Return a folder among the temporary files that belongs to this user alone.

    The cached files are pickles: another user's would be that user's code.
    """
    folder = Path(tempfile.gettempdir()) / f"altbench-numba-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if folder.is_dir() and not folder.is_symlink() and found.st_uid == os.getuid() and not found.st_mode & 0o022:
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="altbench-numba-"))
