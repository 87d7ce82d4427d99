"""A run that is offered to workers: what they find in its folder, and who works on it.

`.shared/run.json` names the offer. `.shared/ID/` holds what belongs to it: the leases of
its workers, what the first one prepared, the claims, and a mark once tables are drawn.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from altbench.core.errors import AltbenchError, ResultsError
from altbench.engines.machine import Machine
from altbench.results.folder import RunFolder
from altbench.sweeps.spec import SweepSpec
from altbench.system import lease, sealed
from altbench.system.files import make_folder

FILE = "run.json"
_NAMES = ("id", "sweep", "origin", "mixed")
_ADVICE = "begin the run again with `altbench run SWEEP --executor worker`"
_LONG_S = 1e9


@dataclass(frozen=True)
class Offer:
    """A run that workers finish together.

    `origin`: the working directory that the sweep's relative paths mean. `mixed`: whether
    machines of several classes may make it.
    """

    root: Path
    id: str
    sweep: SweepSpec
    origin: str
    mixed: bool = False

    @property
    def folder(self) -> Path:
        """The folder of what belongs to this offer alone."""
        return RunFolder(self.root).shared / self.id

    @property
    def is_drawn(self) -> bool:
        """Whether all is done and the tables are drawn."""
        return (self.folder / "drawn.json").is_file()

    def mark_drawn(self) -> None:
        """Note that the tables are drawn."""
        sealed.write_json(self.folder / "drawn.json", {"id": self.id})

    @property
    def is_prepared(self) -> bool:
        """Whether a worker has prepared the run."""
        return (self.folder / "prepared.json").is_file()

    def prepared(self) -> dict[str, Any] | None:
        """Return what the first worker prepared; None if that is not done."""
        path = self.folder / "prepared.json"
        names = ("machine", "fingerprint", "keys", "blocks", "older")
        return sealed.read_json(path, names, _ADVICE) if path.is_file() else None

    def keep_prepared(self, values: Mapping[str, Any]) -> None:
        """Keep what all workers must find alike."""
        sealed.write_json(self.folder / "prepared.json", values)

    def workers(self) -> list[Path]:
        """Return the leases of the workers that joined and did not leave."""
        return sorted((self.folder / "workers").glob("*.lease"))


def load_offer(root: Path, expected: str = "") -> Offer:
    """Return the offer in `root`; ResultsError, in one line, if it is missing.

    `expected`: the id that it must have. If it is another, this folder is not the one
    in which the run began.
    """
    path = RunFolder(root).shared / FILE
    if expected and not path.is_file():
        raise ResultsError(
            _not_shared(root, expected, "no run is offered in it" if root.is_dir() else "no such folder")
        )
    if not path.is_file():
        raise ResultsError(
            f"{root}: expected a run's folder that is offered to workers, found no {path.relative_to(root)} in it; "
            f"`altbench run SWEEP --out {root} --executor worker` offers one"
        )
    found = sealed.read_json(path, _NAMES, _ADVICE)
    if expected and found["id"] != expected:
        raise ResultsError(_not_shared(root, expected, f"it holds the run {found['id']}"))
    sweep = SweepSpec.parse(found["sweep"], str(path))
    return Offer(root, str(found["id"]), sweep, str(found["origin"]), bool(found["mixed"]))


def _not_shared(root: Path, expected: str, found: str) -> str:
    return (
        f"{root}: expected the run {expected} that was begun in it, but here {found}; "
        "the folder must be on a file system that all machines share"
    )


def make_offer(root: Path, sweep: SweepSpec, mixed: bool) -> Offer:
    """Offer `sweep` in `root`, or join the unfinished offer of the same sweep.

    AltbenchError if workers are busy with another sweep there, or if a process holds
    the folder for itself.
    """
    folder = RunFolder(root)
    make_folder(folder.shared)
    folder.check_free()
    with lease.held(folder.shared / "offer.lease", patience_s=_LONG_S):
        found = _unfinished(root)
        if found is not None and (found.sweep, found.mixed) == (sweep, mixed) and _same_versions(found):
            return found
        _refuse_workers(folder, found)
        # From here on nobody joins the offer of before; who joined just now is seen by the second look.
        (folder.shared / FILE).unlink(missing_ok=True)
        try:
            _refuse_workers(folder, found)
        except AltbenchError:
            if found is not None:
                _keep(found)
            raise
        _forget_all(folder.shared)
        made = Offer(root, uuid.uuid4().hex[:12], sweep, str(Path.cwd()), mixed)
        _keep(made)
        return made


def _refuse_workers(folder: RunFolder, found: Offer | None) -> None:
    """Raise AltbenchError if workers are busy in the folder, with the sweep `found`."""
    for path in folder.workers():
        if holder := lease.holder_at_work(path):
            name = found.sweep.name if found else "another"
            raise AltbenchError(
                f"{folder.root}: in use by the worker {holder} for the sweep {name!r}; choose another --out"
            )


def _keep(offer: Offer) -> None:
    values = {"sweep": json.loads(offer.sweep.model_dump_json()), "origin": offer.origin, "mixed": offer.mixed}
    sealed.write_json(RunFolder(offer.root).shared / FILE, {"id": offer.id, **values})


def _same_versions(offer: Offer) -> bool:
    """Return whether an offer was prepared, if it was, by this version with these packages."""
    prepared = offer.prepared()
    if prepared is None:
        return True
    here, there = Machine.here("cpu"), Machine.of(prepared["machine"])
    return (here.altbench, here.commit, here.packages) == (there.altbench, there.commit, there.packages)


def _unfinished(root: Path) -> Offer | None:
    try:
        found = load_offer(root)
    except AltbenchError:
        return None
    return None if found.is_drawn else found


def _forget_all(shared: Path) -> None:
    """Delete the offers of before; what was recorded is elsewhere."""
    for path in shared.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
