"""Which files of a run were written before files carried digests.

They are read, but damage in them may pass for a result. Whoever opens the run is told
so in one line.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from altbench.results import history
from altbench.results.cells import cell_files
from altbench.results.checkpoints import CARD, OLD_CARD
from altbench.results.frames import DECISIONS_FILE, EPISODES_FILE
from altbench.results.measures import MEASURES
from altbench.results.parquet import is_sealed
from altbench.system import fingerprint
from altbench.system.sealed import is_sealed_json

log = logging.getLogger(__name__)


def unchecked_files(root: Path) -> list[Path]:
    """Return the files of the run in `root` that carry no digest, by name.

    Only their beginnings or ends are read.
    """
    return _unsealed(_files(root))


def warn_of_unchecked(root: Path) -> None:
    """Log in one line, once a process, that files of a run are used unchecked."""
    files = _files(root)
    found = _unsealed(files)
    if found:
        which = found[0].relative_to(root)
        _warn_once(
            f"{root}: {len(found)} of {len(files)} files of records carry no digest (such as {which}), as before"
            " altbench wrote digests; they are used unchecked, so damage in them may not be seen"
        )


@functools.cache
def _warn_once(line: str) -> None:
    log.warning("%s", line)


def _files(root: Path) -> list[Path]:
    return [path for path in _candidates(root) if path.is_file()]


def _unsealed(files: Iterable[Path]) -> list[Path]:
    return [path for path in files if not _is_sealed(path)]


def _candidates(root: Path) -> Iterator[Path]:
    for name in (EPISODES_FILE, DECISIONS_FILE, fingerprint.FILE, history.LAST):
        yield root / name
    yield from sorted((root / history.EARLIER).glob("*.json"))
    yield from sorted((root / MEASURES).glob("*.json"))
    yield from cell_files(root)
    for card in (CARD, OLD_CARD):
        yield from sorted((root / "checkpoints").glob(f"*/{card}"))


def _is_sealed(path: Path) -> bool:
    return is_sealed(path) if path.suffix == ".parquet" else is_sealed_json(path)
