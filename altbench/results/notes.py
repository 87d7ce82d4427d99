"""What stands beside a run's records of its checkpoints: small sealed files, checkpoint key -> values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from altbench.core.errors import AltbenchError
from altbench.system import sealed


def load_notes(path: Path) -> dict[str, dict[str, Any]]:
    """Return what the file says; empty without it, or if it is damaged."""
    if not path.is_file():
        return {}
    try:
        read = sealed.read_json(path, ("checkpoints",), "the next run writes it anew")
    except AltbenchError:
        return {}
    found: dict[str, dict[str, Any]] = read["checkpoints"]
    return found


def save_notes(known: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Write the file, if anything is known."""
    if known:
        sealed.write_json(path, {"checkpoints": known})
