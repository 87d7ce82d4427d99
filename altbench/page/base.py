"""The run that a page compares with, remembered beside the page, so that it is there when the page is written again."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from altbench.core.errors import ResultsError
from altbench.system import sealed

FILE = "page.json"
"""Beside a run's page: the folder that it compares with, from the run's folder."""

log = logging.getLogger(__name__)


def remember(root: Path, base: Path | None) -> None:
    """Remember the folder that the page of the run in `root` compares with; None: no other."""
    if base is None:
        (root / FILE).unlink(missing_ok=True)
    else:
        # Relative: the folder of all runs may be moved or copied.
        sealed.write_json(root / FILE, {"compare": Path(os.path.relpath(base.absolute(), root.absolute())).as_posix()})


def remembered(root: Path) -> Path | None:
    """Return that folder; None if none is remembered, or, with a warning, if it is gone."""
    if not (root / FILE).is_file():
        return None
    try:
        kept = str(sealed.read_json(root / FILE, ("compare",), "`altbench report` writes it")["compare"])
    except (ResultsError, KeyError) as error:
        log.warning("counts as missing: %s", error)
        return None
    base = Path(os.path.normpath(root / kept))  # the page names it as it was named
    if not base.is_dir():
        log.warning("%s: the run that the page is compared with is gone: %s; the page is written without", root, base)
        return None
    return base
