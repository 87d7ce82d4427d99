"""The processes that come from a worker: seen, counted, ended. Linux's /proc tells them."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_ROUNDS = 20
"""How often the family is looked for again while it is ended: it may grow meanwhile."""
_SET_CHILD_SUBREAPER = 36
"""The number of this request of prctl(2)."""


class Running(NamedTuple):
    """A process: its own number, its parent's, its session's, and its threads."""

    pid: int
    parent: int
    session: int
    threads: int


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, so that `family` sees them."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def family(pid: int) -> list[Running]:
    """Return the processes of the session that `pid` leads, and all their descendants.

    For this process itself also its descendants if it leads no session. Zombies are not
    among them.
    """
    table = _all_running()
    # By the session, since the number of a process that has ended may be given again.
    found = {one.pid for one in table if one.session == pid or one.pid == pid == os.getpid()}
    grown = True
    while grown:
        more = {one.pid for one in table if one.parent in found} - found
        found |= more
        grown = bool(more)
    return [one for one in table if one.pid in found]


def threads_of(pid: int) -> int:
    """Return how many threads the family of `pid` has, at least one for each process."""
    return sum(one.threads for one in family(pid))


def end_family(pid: int) -> int:
    """Kill the family of `pid`, but not this process itself.

    Return how many processes were killed. A child that left the session is found only
    while its ancestors run.
    """
    ended: set[int] = set()
    for _ in range(_ROUNDS):
        left = [one.pid for one in family(pid) if one.pid != os.getpid()]
        if not left:
            break
        for one in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(one, signal.SIGKILL)
        ended.update(left)
        time.sleep(0.01)
        _bury(left)
    return len(ended)


def _bury(pids: list[int]) -> None:
    """Take the exit status of those of `pids` that this process adopted."""
    if os.getsid(0) != os.getpid():
        return  # their own parent waits for them, as multiprocessing does
    for pid in pids:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _all_running() -> list[Running]:
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                fields = (path / "stat").read_text().rpartition(")")[2].split()
                if fields[0] not in ("Z", "X"):
                    found.append(Running(int(path.name), int(fields[1]), int(fields[3]), int(fields[17])))
    return found
