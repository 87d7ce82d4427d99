"""The fingerprint of what made a result: versions, hardware, renderer, commit, data.

Every table and figure carries it.
"""

from __future__ import annotations

import filecmp
import json
import logging
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from pydantic import TypeAdapter, ValidationError

from altbench.core.errors import ResultsError
from altbench.core.words import count
from altbench.system import sealed
from altbench.system.quota import cpu_quota

PACKAGES = ("altbench", "robosuite", "mujoco", "torch", "numpy", "faiss-cpu", "gymnasium")
"""The packages whose versions are recorded, in the order in which they are shown."""
FILE = "fingerprint.json"
"""The fingerprint's file in a run's folder."""
_SOURCES = ("altbench", "envs", "policies", "demos", "pyproject.toml")
"""Changes to these paths of a checkout make a fingerprint `dirty`."""

_ADDED = ("horizon", "sources", "mixed")
"""Fields that came after the first published runs."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fingerprint:
    """Versions and hardware; None means missing or unknown.

    `commit`: the source's git commit. `dirty`: whether the source differed from it.
    `data`: checksums of the demonstrations, separated by spaces. `renderer`: the OpenGL
    back end. `sources`: what is no part of altbench, such as "policy mine" or "files of
    mine" -> SHA-256 of its code or of the files that it reads. `horizon`: tasks
    whose episodes end elsewhere than at their own horizon, such as "Lift 600 steps";
    empty: none. `mixed`: the differing machines that made the results together, where
    that was allowed; empty: machines of one kind.
    """

    python: str
    packages: Mapping[str, str]
    os: str
    cpu: str
    cores: int
    gpu: str | None
    renderer: str | None
    commit: str | None
    dirty: bool | None
    data: str | None
    sources: Mapping[str, str] = field(default_factory=dict)
    horizon: str = ""
    mixed: str = ""

    def one_line(self) -> str:
        """Return the whole fingerprint as one readable line."""
        commit = f"commit {self.commit[:12]}{' + changes' if self.dirty else ''}" if self.commit else None
        parts = [
            " ".join(f"{name} {self.packages[name]}" for name in sorted(self.packages, key=_package_order)),
            f"Python {self.python}",
            f"{self.cpu}, {count(self.cores, 'core')}",
            f"MIXED MACHINES: {self.mixed}" if self.mixed else None,
            self.gpu or "no GPU",
            f"renderer {self.renderer}" if self.renderer else None,
            f"horizon {self.horizon}" if self.horizon else None,
            self.os,
            commit,
            f"data {' '.join(checksum[:12] for checksum in self.data.split())}" if self.data else None,
            *(f"{what} {digest[:12]}" for what, digest in sorted(self.sources.items())),
        ]
        return " · ".join(part for part in parts if part)

    def short(self) -> str:
        """Return what a figure's small print says: code, machine and data."""
        commit = f"commit {self.commit[:12]}{' + changes' if self.dirty else ''}" if self.commit else None
        checksums = self.data.split() if self.data else []
        more = f" and {len(checksums) - 1} more" if len(checksums) > 1 else ""
        parts = [
            f"altbench {self.packages['altbench']}" if "altbench" in self.packages else None,
            commit,
            f"MIXED MACHINES: {self.mixed}" if self.mixed else f"{self.cpu}, {self.gpu or 'no GPU'}",
            f"data {checksums[0][:12]}{more}" if checksums else None,
        ]
        return " · ".join(part for part in parts if part)

    def as_dict(self) -> dict[str, Any]:
        """Return all fields; `mixed`, which published tables lack, only if it says something."""
        return {name: value for name, value in asdict(self).items() if value or name != "mixed"}

    def to_json(self) -> str:
        """Return JSON that `from_json` reads; equal fingerprints give equal text."""
        # Without what is empty: published fingerprints, which lack these, keep their bytes.
        values = {name: value for name, value in asdict(self).items() if value or name not in _ADDED}
        return json.dumps(values, indent=1, sort_keys=True) + "\n"

    @staticmethod
    def from_json(text: str) -> Fingerprint:
        """Read what `to_json` wrote; raise ResultsError for anything else."""
        try:
            return TypeAdapter(Fingerprint).validate_json(text)
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, fault["loc"])) or "text"
            raise ResultsError(f"not a fingerprint: {where}: {fault['msg']}") from None


def _package_order(name: str) -> tuple[int, str]:
    """Return a sort key: `PACKAGES` in their order, then others by name."""
    return (PACKAGES.index(name) if name in PACKAGES else len(PACKAGES), name)


def collect(
    renderer: str | None = None, data: str | None = None, horizon: str = "", sources: Mapping[str, str] | None = None
) -> Fingerprint:
    """Return the fingerprint of this machine and installation.

    Imports none of the packages, since torch and robosuite take seconds to load.
    """
    commit, dirty = _commit()
    return Fingerprint(
        python=platform.python_version(),
        packages={name: found for name in PACKAGES if (found := package_version(name))},
        os=_operating_system(),
        cpu=cpu_model(),
        cores=usable_cores(),
        gpu=gpu_name(),
        renderer=renderer,
        commit=commit,
        dirty=dirty,
        data=data,
        horizon=horizon,
        sources=dict(sources or {}),
    )


def write_fingerprint(folder: Path, fingerprint: Fingerprint) -> Path:
    """Write `folder`/fingerprint.json, sealed and whole or not at all; return its path.

    Equal fingerprints give equal bytes.
    """
    path = folder / FILE
    sealed.write_json(path, json.loads(fingerprint.to_json()))
    return path


def load_fingerprint(folder: Path) -> Fingerprint | None:
    """Read the fingerprint of the run in `folder`.

    None if it is missing or, with a warning, damaged.
    """
    path, advice = folder / FILE, "the command that made the folder writes it anew"
    if not path.is_file():
        return None
    try:
        values = sealed.read_json(path, [one.name for one in fields(Fingerprint)], advice)
        return Fingerprint.from_json(json.dumps(values))
    except ResultsError as error:
        named = "" if str(error).startswith(str(path)) else f"{path}: "
        log.warning("counts as missing: %s%s", named, error)
        return None


def differences(first: Fingerprint, second: Fingerprint) -> list[str]:
    """List the differences, one line each: `mujoco: 3.9.0 -> 3.8.1`."""
    sides = [_flat(first), _flat(second)]
    names = [*sides[0], *(name for name in sides[1] if name not in sides[0])]
    pairs = [(name, sides[0].get(name, "none"), sides[1].get(name, "none")) for name in names]
    return [f"{name}: {old} -> {new}" for name, old, new in pairs if old != new]


def package_version(name: str) -> str | None:
    """Return the installed version of a distribution; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def cpu_model() -> str:
    """Return the processor's name as the operating system reports it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def machine(device: str) -> str:
    """Return the processor's name, and the GPU's where `device` is "cuda"."""
    return " · ".join(filter(None, (cpu_model(), gpu_name() if device == "cuda" else None)))


def usable_cores() -> int:
    """Return the number of logical processors that this process may use, at least 1.

    Its affinity counts, and the quota of a container: the whole processors in it, since
    one more worker would slow down all.
    """
    visible = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return visible if quota is None else max(1, min(visible, int(quota)))


def gpu_name() -> str | None:
    """Return the name and driver of the first NVIDIA GPU; None without one."""
    if shutil.which("nvidia-smi") is None:
        return None
    lines = _output("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").splitlines()
    if not lines:
        return None
    name, _, driver = lines[0].partition(", ")
    count = f"{len(lines)} x " if len(lines) > 1 else ""
    return f"{count}{name}, driver {driver}"


def _flat(fingerprint: Fingerprint) -> dict[str, str]:
    values = asdict(fingerprint)
    packages: dict[str, str] = values.pop("packages")
    sources: dict[str, str] = values.pop("sources")
    return {**packages, **sources, **{name: "none" if value is None else str(value) for name, value in values.items()}}


def _operating_system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = platform.system()
    return f"{name}, {platform.machine()}"


def _commit() -> tuple[str | None, bool | None]:
    source = _source_folder()
    commit = _output("git", "-C", str(source), "rev-parse", "HEAD").strip() if source else ""
    if not commit:
        return None, None
    return commit, bool(_output("git", "-C", str(source), "status", "--porcelain", "--", *_SOURCES).strip())


def _source_folder() -> Path | None:
    """Return the git checkout of this package's source; None if it is unknown.

    The package runs from it, or was installed from it and both still hold the same
    code.
    """
    package = Path(__file__).parents[1]
    candidates = [package.parent]
    try:
        origin = json.loads(distribution("altbench").read_text("direct_url.json") or "{}")
        candidates.append(Path(unquote(urlparse(origin.get("url", "")).path)))
    except (PackageNotFoundError, ValueError):
        pass
    return next((c for c in candidates if _holds(c / "altbench", package)), None)


def _holds(source: Path, package: Path) -> bool:
    """Tell whether `source` is in git and has the same Python files as `package`."""
    if not _output("git", "-C", str(source), "ls-files", "__init__.py").strip():
        return False
    if source.resolve() == package.resolve():
        return True
    names = [sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.py")) for folder in (source, package)]
    return names[0] == names[1] and not any(filecmp.cmpfiles(source, package, names[0], shallow=False)[1:])


def _output(*command: str) -> str:
    """Return a command's standard output.

    Empty if the command is missing, fails, or takes longer than ten seconds.
    """
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (subprocess.SubprocessError, OSError):
        return ""
    return done.stdout
