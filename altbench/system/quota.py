"""Limits on processor time that a container or a job scheduler sets (Linux cgroups).

`docker run --cpus 2` and Slurm leave all processors visible. A process that starts one
worker for each is then slowed down, and its measurements of time with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

CONTROLLERS = ("cpu,cpuacct", "cpuacct,cpu", "cpu")
"""The folders in which version 1 may keep the limits of processor time."""


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return how many processors' time this process may use; None without a limit.

    The smallest limit of its cgroup and of those above. Both versions of cgroups are
    read. `root`: where /proc and /sys are, for tests.
    """
    mounted = root / "sys/fs/cgroup"
    limits: list[float] = []
    for controllers, group in _groups(root / "proc/self/cgroup"):
        if not controllers:
            limits += _limits(mounted, group, _limit_v2)
            limits += _limits(mounted / "unified", group, _limit_v2)
        elif "cpu" in controllers:
            for name in CONTROLLERS:
                limits += _limits(mounted / name, group, _limit_v1)
    return min(limits, default=None)


def _groups(listing: Path) -> Iterator[tuple[list[str], str]]:
    """Yield (controllers, path) of each cgroup of this process; version 2 names none."""
    try:
        lines = listing.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        _, found, rest = line.partition(":")
        controllers, second, group = rest.partition(":")
        if found and second:
            yield [name for name in controllers.split(",") if name], group


def _limits(folder: Path, group: str, read: Callable[[Path], float | None]) -> list[float]:
    """Return the limits of `group` and all above it, up to the mounted `folder`.

    In a container the path may be the host's, which is not mounted: then only `folder`
    itself is there, and is the container's own.
    """
    inside = PurePosixPath(group.lstrip("/"))
    places = [folder / part for part in (inside, *inside.parents) if ".." not in part.parts]
    return [limit for place in (*places, folder) if (limit := read(place)) is not None]


def _limit_v2(place: Path) -> float | None:
    """Read cpu.max: microseconds (or "max") in each period of microseconds."""
    words = _words(place / "cpu.max")
    return _ratio(words[0], words[1]) if len(words) == 2 else None


def _limit_v1(place: Path) -> float | None:
    """Read the same from two files; a quota of -1 means no limit."""
    quota, period = _words(place / "cpu.cfs_quota_us"), _words(place / "cpu.cfs_period_us")
    return _ratio(quota[0], period[0]) if quota and period else None


def _ratio(quota: str, period: str) -> float | None:
    if not (quota.isdigit() and period.isdigit()) or int(quota) == 0 or int(period) == 0:
        return None
    return int(quota) / int(period)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").split()
    except OSError:
        return []
