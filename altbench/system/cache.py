"""Where altbench keeps what can be made again: demonstrations that a script asked for."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from altbench.core.errors import AltbenchError

VARIABLE = "ALTBENCH_CACHE"


def cache_folder() -> Path:
    """Return the cache's folder, and make it if it is missing.

    The first of these that can be written: `$ALTBENCH_CACHE`, `$XDG_CACHE_HOME/altbench`,
    `~/.cache/altbench`, and a folder among the machine's temporary files.
    """
    named = os.environ.get(VARIABLE)
    shared = user_cache()
    temporary = Path(tempfile.gettempdir()) / f"altbench-{os.getuid()}"
    for folder in (Path(named).expanduser() if named else None, shared and shared / "altbench", temporary):
        if folder is not None and usable(folder):
            return folder
    raise AltbenchError(f"no folder for a cache can be written; set {VARIABLE} to one")


def user_cache() -> Path | None:
    """Return the user's folder of caches, for all programs; None for a user without a home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    except RuntimeError:  # no HOME, and no entry for this user
        return None


def usable(folder: Path) -> bool:
    """Return whether `folder` can be written; it is made if it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
