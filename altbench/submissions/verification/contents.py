"""An archive as the checks see it: its parts, read and parsed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from altbench.core import registry
from altbench.core.errors import AltbenchError
from altbench.dataset.format import physics_versions
from altbench.rollout.episode import PROTOCOL_VERSION
from altbench.submissions.archive import Opened
from altbench.submissions.cellspec import PlayedCell, read_cells
from altbench.submissions.manifest import MANIFEST, Manifest, Shown, read_manifest, read_shown
from altbench.submissions.starts import States, read_starts
from altbench.submissions.suite import SUITE_VERSION
from altbench.submissions.verdict import Finding, judged


@dataclass(frozen=True)
class Contents:
    """The parts of an archive. `shown`: the demonstrations; `starts`: where episodes began."""

    opened: Opened
    manifest: Manifest
    cells: tuple[PlayedCell, ...]
    shown: tuple[Shown, ...]
    starts: States

    @property
    def episodes(self) -> int:
        """How many episodes are recorded."""
        return sum(len(cell.episodes) for cell in self.cells)


def read_contents(opened: Opened, manifest: Manifest) -> Contents:
    """Return all parts; SubmissionError, in one line, if one is damaged or missing."""
    folder = opened.folder
    return Contents(opened, manifest, tuple(read_cells(folder)), read_shown(folder), read_starts(folder))


def checksums(folder: Path, manifest: Manifest) -> Finding:
    """Check that the parts are those that the manifest names, to the bit."""
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    there.pop(MANIFEST, None)
    faults = [f"{name}: the part is missing" for name in sorted(manifest.parts.keys() - there.keys())]
    faults += [f"{name}: the manifest does not name this part" for name in sorted(there.keys() - manifest.parts.keys())]
    for name in sorted(manifest.parts.keys() & there.keys()):
        with there[name].open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != manifest.parts[name]:
                faults.append(f"{name}: another SHA-256 than the manifest names")
    return judged("checksums", faults, f"{len(there)} parts have the SHA-256 that the manifest names.")


def manifest_of(opened: Opened) -> Manifest:
    """Return the manifest of an open archive; SubmissionError as `read_manifest`."""
    return read_manifest(opened.folder)


def versions(contents: Contents) -> Finding:
    """Check that the archive was made under the versions that are installed here."""
    manifest = contents.manifest
    wrong = [
        f"{cell.header.name}: protocol {cell.spec.protocol} and {cell.spec.versions}, the manifest names others"
        for cell in contents.cells
        if cell.spec.protocol != manifest.protocol
        or any(cell.spec.versions.get(name) != version for name, version in manifest.physics.items())
    ]
    used = {cell.column.entry.name for cell in contents.cells if cell.column.entry.name != "clean"}
    wrong += [
        f"perturbation {name}: the manifest names no version of it" for name in used - set(manifest.perturbations)
    ]
    wrong += [f"{t}: the manifest names no version of the task" for t in _tasks(contents) if t not in manifest.tasks]
    if wrong:
        return judged("versions", wrong, "")
    pairs: list[tuple[str, object, object]] = [
        ("suite", manifest.suite, SUITE_VERSION),
        ("protocol", manifest.protocol, PROTOCOL_VERSION),
    ]
    pairs += [(name, manifest.physics.get(name), own) for name, own in physics_versions().items()]
    pairs += [(f"task {name}", version, _task_version(name)) for name, version in manifest.tasks.items()]
    pairs += [(f"perturbation {n}", version, _perturbation_version(n)) for n, version in manifest.perturbations.items()]
    other = [f"{name}: {found}, here {own}" for name, found, own in pairs if found != own]
    if other:
        text = f"Made under other versions than those installed here ({other[0]})."
        return Finding(check="versions", state="unknown", text=text, details=tuple(other))
    named = ", ".join(f"{name} {found}" for name, found, _ in pairs)
    return Finding(check="versions", state="passed", text=f"Made under the versions that are installed here: {named}.")


def _tasks(contents: Contents) -> Sequence[str]:
    return sorted({cell.header.task for cell in contents.cells})


def _task_version(name: str) -> int | None:
    try:
        return registry.task(name).version
    except (AltbenchError, ImportError):
        return None


def _perturbation_version(name: str) -> int | None:
    if name not in registry.BUILT_IN["perturbation"]:
        return None
    return int(registry.perturbation(name).version)
