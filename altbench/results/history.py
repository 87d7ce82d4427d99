"""The sweeps that were run in a folder.

sweep.json is the last one; sweeps/ keeps earlier ones with other names.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from altbench.core.errors import AltbenchError, DatasetError, ResultsError
from altbench.sweeps.kept import continued, load_kept
from altbench.sweeps.needs import needs_demonstrations
from altbench.sweeps.spec import SweepSpec
from altbench.system import sealed

LAST, EARLIER = "sweep.json", "sweeps"

log = logging.getLogger(__name__)


def keep(sweep: SweepSpec, root: Path) -> None:
    """Write `sweep` as the last one of the run in `root`.

    If the last one before had another name, it is kept in sweeps/. A damaged one is
    replaced, with a warning.
    """
    path = root / LAST
    before = _found(path)
    if before == sweep:
        return
    if before and before.name != sweep.name:
        sealed.write_bytes(root / EARLIER / f"{before.name}.json", path.read_bytes())
    sealed.write_json(path, json.loads(sweep.model_dump_json()))


def _found(path: Path) -> SweepSpec | None:
    """Return the sweep in `path`; None if it is missing or, with a warning, damaged."""
    if not path.is_file():
        return None
    try:
        return load_kept(path)
    except AltbenchError as error:
        log.warning("counts as missing: %s", error)
        return None


def load(root: Path) -> tuple[SweepSpec, ...]:
    """Return the sweeps that were run under `root`, the last one first.

    A damaged one among the earlier ones is left out, with a warning. ResultsError if
    the last one is damaged, or if `root` is not a run's folder.
    """
    if not (root / LAST).is_file():
        raise ResultsError(f"{root}: not a run's folder (no {LAST} in it); `altbench run quick` makes results/quick")
    last = load_kept(root / LAST)
    earlier = [_found(path) for path in sorted((root / EARLIER).glob("*.json"))]
    return last, *(sweep for sweep in earlier if sweep and sweep.name != last.name)


def continue_sweep(sweep: SweepSpec, root: Path) -> SweepSpec:
    """Return `sweep` as the run in `root` began it, if checkpoints of that run lie there; else as it is.

    A published run's folder has none: a new run into it is not bound by the machine that the published one had.
    """
    if not (root / "checkpoints").is_dir() or not (root / LAST).is_file():
        return sweep
    try:
        return continued(sweep, load(root))
    except AltbenchError:  # damaged: the run writes it anew
        return sweep


def check_demonstrations(sweep: SweepSpec, path: Path, what_for: str) -> None:
    """Raise DatasetError if the demonstrations of `sweep` are missing from `path`.

    `what_for`: what the run needs them for, such as "that its episodes began from".
    """
    if path.is_file():
        return
    advice = f"`altbench run` with the sweep {sweep.name!r} collects them again"
    if not needs_demonstrations(sweep):
        advice = f"the sweep {sweep.name!r} collects none, since nothing in it needs them"
    if sweep.demonstrations.file:
        advice = f"the sweep {sweep.name!r} names it as demonstrations.file; put it back"
    raise DatasetError(f"{path}: no such file; it held the demonstrations {what_for}; {advice}")
