"""Leases: a file that says which process works in a folder, on any file system.

No kernel lock is used, since NFS and Lustre may have none. The holder's record is
created atomically, and a thread of the holder changes its beat every few seconds. A
record whose beat does not change belongs to a process that is gone, and is taken over.

Clocks of different machines are never compared: a watcher measures with its own clock
how long the beat stayed the same. On the machine of the holder, its process number
answers at once.

A record is never changed into another holder's. It is replaced by a rename, and only
the process that has made the file `NAME.TOKEN.next` may do so, where TOKEN names the
record to be replaced. So of two takers one wins. This holds as long as no process is
suspended for `STALE_S` between two lines of `_take_over`; a holder that was suspended
finds out at its next beat (`Lease.check`).
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import platform
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from altbench.core.errors import AltbenchError

BEAT_S = 3.0
"""Seconds between two beats of a holder."""
STALE_S = 30.0
"""Seconds without a new beat after which a holder on another machine counts as gone.

Ten beats: a busy file server may delay several of them.
"""
UNREADABLE_S = 2.0
"""Seconds after which a record without a readable holder counts as abandoned.

It is being written at this moment, or was left by an older version.
"""
_POLL_S = 0.25
_BEAT_DIGITS = 12
_RELEASED = b"released".ljust(_BEAT_DIGITS)
_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class LeaseHeld(AltbenchError):
    """A lease that another process holds; `holder` names that process."""

    def __init__(self, path: Path, holder: str) -> None:
        self.path, self.holder = path, holder
        super().__init__(f"{path}: in use by {holder}")

    def __reduce__(self) -> tuple[object, ...]:
        """Return what pickle needs to send the error to another process."""
        return type(self), (self.path, self.holder)


@dataclass(frozen=True)
class Holder:
    """The process that a record names.

    `token`: unique for each lease. `place`: equal for two processes if process numbers
    mean the same to both. `started`: the process's start in clock ticks, since process
    numbers are used again.
    """

    token: str
    host: str
    place: str
    pid: int
    started: str
    command: str

    def __str__(self) -> str:
        where = "" if self.place == _place() else f" on {self.host}"
        return f"process {self.pid}{where} ({self.command})"

    def runs_here(self) -> bool:
        """Return whether the process still runs, if it is at this `place`."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            return True  # another user's: it exists
        state, started = _process(self.pid)
        return state not in ("Z", "X") and self.started in ("", started)


def _own_holder() -> Holder:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    pid = os.getpid()
    return Holder(uuid.uuid4().hex, platform.node(), _place(), pid, _process(pid)[1], command[:500])


@functools.cache
def _place() -> str:
    """Name the boot and the process-number space of this process; empty if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _process(pid: int) -> tuple[str, str]:
    """Return the state and the start time of a process; empty texts if hidden."""
    try:
        # The command's name may hold spaces and brackets; the fields follow the last.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        return "", ""


@dataclass(frozen=True)
class _Record:
    """The bytes of a lease's file: a beat, then the holder as JSON."""

    raw: bytes

    @property
    def released(self) -> bool:
        return self.raw.startswith(_RELEASED)

    @functools.cached_property
    def holder(self) -> Holder | None:
        """The holder; None for a record that is not (yet) one of ours."""
        try:
            return Holder(**json.loads(self.raw[_BEAT_DIGITS + 1 :]))
        except (ValueError, TypeError):
            return None

    @property
    def token(self) -> str:
        return self.holder.token if self.holder else hashlib.sha256(self.raw).hexdigest()[:32]


def _read(path: Path) -> _Record | None:
    """Return the record in `path`; None if the file is missing."""
    try:
        return _Record(path.read_bytes())
    except FileNotFoundError:
        return None


class Watch:
    """A memory of records: which were seen when, and whether they have changed since.

    Keep one for as long as you try to claim: a holder on another machine can be judged
    by two looks alone.
    """

    def __init__(self, stale_s: float = STALE_S) -> None:
        self.stale_s = stale_s
        self._seen: dict[Path, tuple[bytes, float, bool | None]] = {}

    def holds(self, path: Path, record: _Record) -> bool | None:
        """Return whether the record's holder is at work; None: it is not known yet."""
        if record.released:
            return False
        holder = record.holder
        if holder is not None and holder.place and holder.place == _place():
            return holder.runs_here()
        return self._by_beat(path, record, self.stale_s if holder else UNREADABLE_S)

    def _by_beat(self, path: Path, record: _Record, limit_s: float) -> bool | None:
        now = time.monotonic()
        raw, since, verdict = self._seen.get(path, (record.raw, now, None))
        if raw != record.raw:
            raw, since, verdict = record.raw, now, True
        self._seen[path] = raw, since, verdict
        return verdict if now - since < limit_s else False


@dataclass(frozen=True)
class Proof:
    """What another process needs to see that a lease is still held: its file, and the
    token of the record in it.
    """

    path: Path
    token: str

    def check(self) -> None:
        """Raise AltbenchError if the lease is another's, or nobody's."""
        try:
            found = _read(self.path)
        except OSError:
            return  # a busy file server is no sign of a loss
        if found is None or found.token != self.token or found.released:
            raise AltbenchError(
                f"{self.path}: {_lost_to(found)}, since this process gave no sign for too long; it stops here"
            )


def _lost_to(found: _Record | None) -> str:
    return f"taken over by {(found and found.holder) or 'a process that does not say its name'}"


class Lease:
    """A lease that this process holds, until `release`. It beats by itself."""

    def __init__(self, path: Path, holder: Holder, beat_s: float = BEAT_S) -> None:
        self.path, self.holder = path, holder
        self._lost = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, args=(beat_s,), daemon=True, name=f"lease {path}")
        self._thread.start()

    def check(self) -> None:
        """Raise AltbenchError if another process has taken the lease over."""
        if self._lost:
            raise AltbenchError(
                f"{self.path}: {self._lost}, since this process gave no sign for too long; it stops here"
            )

    @property
    def proof(self) -> Proof:
        """What a process that works for this one asks before it writes a result."""
        return Proof(self.path, self.holder.token)

    def release(self) -> None:
        """Give the lease back. Its file stays, and says so."""
        self._ended.set()
        self._thread.join()
        # The folder may be gone or read-only by now; the lease then ends with the beats.
        with suppress(OSError):
            self._write(_RELEASED)

    def _keep(self, beat_s: float) -> None:
        beat = 0
        while not self._ended.wait(beat_s) and not self._lost:
            beat += 1
            with suppress(OSError):  # the next beat may succeed; a taker waits for ten
                self._write(b"%0*d" % (_BEAT_DIGITS, beat))

    def _write(self, beat: bytes) -> None:
        """Write `beat` into our own record; note if the path now holds another's.

        One descriptor serves both, so that a record that replaces ours in this moment
        is not touched. Closing it makes the change visible to other clients of NFS.
        """
        descriptor = os.open(self.path, os.O_RDWR)
        try:
            found = _Record(os.pread(descriptor, 1 << 16, 0))
            if found.token == self.holder.token:
                os.pwrite(descriptor, beat, 0)
            else:
                self._lost = _lost_to(found)
        finally:
            os.close(descriptor)


def claim(path: Path, watch: Watch, beat_s: float = BEAT_S) -> Lease | None:
    """Take the lease `path` if it is free, or if its holder is gone; never wait.

    None: it is held, or `watch` must look again later. AltbenchError if the file system
    refuses.
    """
    mine = _own_holder()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        found = _read(path)
        if found is None:
            won = _create(path, mine)
        else:
            won = watch.holds(path, found) is False and _take_over(path, found, mine, watch)
    except OSError as error:
        reason = error.strerror or error
        raise AltbenchError(f"{path}: expected a file that can be made and written, got: {reason}") from error
    return Lease(path, mine, beat_s) if won else None


def _take_over(path: Path, old: _Record, mine: Holder, watch: Watch) -> bool:
    """Replace the record `old` of a holder that is gone; return whether that succeeded.

    A taker may die here as well. So its claim can be removed by the next one, who
    judges it like a holder. Whoever loses a claim fails at the rename.
    """
    ticket = path.with_name(f"{path.name}.{old.token}.next")
    other = _read(ticket)
    if other is not None:
        if watch.holds(ticket, other) is not False:
            return False
        ticket.unlink(missing_ok=True)
    if not _create(ticket, mine):
        return False
    found = _read(path)
    if found is None or found.raw != old.raw:  # replaced meanwhile, or it beats again
        ticket.unlink(missing_ok=True)
        return False
    with suppress(FileNotFoundError):
        ticket.rename(path)
    found = _read(path)
    return found is not None and found.token == mine.token


def _create(path: Path, mine: Holder) -> bool:
    """Make the file `path` with our record, atomically; return whether it was missing."""
    content = b"%0*d\n%s\n" % (_BEAT_DIGITS, 0, json.dumps(asdict(mine)).encode())
    whole = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        _write_new(whole, content)
        try:
            os.link(whole, path)
        except FileExistsError:
            # NFS may repeat a request whose answer was lost: the second one fails.
            return whole.stat().st_nlink == 2
        except FileNotFoundError:
            return False  # removed as a leftover by the process that holds the folder
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            return _create_in_place(path, content)
        return True
    finally:
        whole.unlink(missing_ok=True)


def _create_in_place(path: Path, content: bytes) -> bool:
    """Make `path` where the file system has no hard links; a reader may see it empty."""
    try:
        _write_new(path, content)
    except FileExistsError:
        return False
    return True


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        if os.write(descriptor, content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


@contextmanager
def held(path: Path, *, patience_s: float = 0.0, stale_s: float = STALE_S, beat_s: float = BEAT_S) -> Iterator[Lease]:
    """Hold the lease `path` in the block; raise LeaseHeld if another process holds it.

    `patience_s`: how long to wait for that process. AltbenchError if the file system
    refuses, with its reason.
    """
    lease = _wait_for(path, patience_s, Watch(stale_s), beat_s)
    _own[path.absolute()] = lease
    try:
        yield lease
    finally:
        del _own[path.absolute()]
        lease.release()


_own: dict[Path, Lease] = {}
"""The leases that this process holds in blocks of `held`."""


def check(path: Path) -> None:
    """Raise AltbenchError if this process held the lease `path` and has lost it."""
    if (lease := _own.get(path.absolute())) is not None:
        lease.check()


@dataclass(frozen=True)
class Look:
    """What a look at a lease tells. `holder`: who made the record; None if unreadable.

    `at_work`: whether it still works; None: it is not known yet. `released`: whether
    it gave the lease back.
    """

    holder: Holder | None
    at_work: bool | None
    released: bool


def look(path: Path, watch: Watch) -> Look | None:
    """Look at the lease `path`, and let `watch` remember it; None if it was never taken."""
    record = _read(path)
    return None if record is None else Look(record.holder, watch.holds(path, record), record.released)


def holder_at_work(path: Path, stale_s: float = STALE_S) -> Holder | None:
    """Return who holds the lease `path`; None if nobody at work does.

    If the record is another machine's, this waits until its beat changes, or for
    `stale_s` seconds.
    """
    watch = Watch(stale_s)
    while True:
        found = look(path, watch)
        if found is None or found.at_work is False:
            return None
        if found.at_work and found.holder is not None:
            return found.holder
        time.sleep(_POLL_S)


def _wait_for(path: Path, patience_s: float, watch: Watch, beat_s: float) -> Lease:
    deadline = time.monotonic() + patience_s
    while True:
        lease = claim(path, watch, beat_s)
        if lease is not None:
            return lease
        record = _read(path)
        if record is not None and watch.holds(path, record) and time.monotonic() >= deadline:
            raise LeaseHeld(path, str(record.holder or "a process that just wrote its record"))
        time.sleep(_POLL_S)
