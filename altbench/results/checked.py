"""What the check of a policy before it played has found, kept in the run's folder."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from altbench.core.errors import ResultsError
from altbench.core.spec import digest
from altbench.sweeps.plan import Cell
from altbench.system import sealed

CHECKED = "checked"
"""The folder of results in a run's folder."""
ELSEWHERE = "another process decides: "
"""How the note on a policy in another process begins; the rest is what the server is."""
_ADVICE = "the next run of the sweep writes it anew"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checked:
    """What a check found: a `fault`, or `notes` on what the bench mends itself."""

    fault: str = ""
    notes: tuple[str, ...] = ()

    @property
    def server(self) -> str:
        """What decides, if another process does: `served by plain openpi, stateless`; else empty."""
        return next((note.removeprefix(ELSEWHERE) for note in self.notes if note.startswith(ELSEWHERE)), "")


def check_key(cell: Cell) -> str:
    """Return what tells the policy of a cell, with its row's settings, from all others."""
    return digest({"checkpoint": cell.checkpoint.key, "runtime": cell.runtime})


def load_checked(root: Path, key: str) -> Checked | None:
    """Return what the check `key` found; None if it was not done, or its file is damaged."""
    path = _path(root, key)
    try:
        values = sealed.read_json(path, ("fault", "notes"), _ADVICE) if path.is_file() else None
    except ResultsError as error:
        log.warning("counts as missing: %s", error)
        return None
    return None if values is None else Checked(str(values["fault"]), tuple(map(str, values["notes"])))


def keep_checked(root: Path, key: str, found: Checked) -> None:
    """Keep what the check `key` found."""
    sealed.write_json(_path(root, key), {"fault": found.fault, "notes": list(found.notes)})


def _path(root: Path, key: str) -> Path:
    return root / CHECKED / f"{key}.json"
