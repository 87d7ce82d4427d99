"""The guardian of a policy server: a process that starts it, and ends it with the bench.

`python -I -S guardian.py JSON`, with a pipe as standard input. It ends the server and all
that it started when that pipe closes, which is so however the bench ends. It imports
nothing but the standard library, so that it starts in a few hundredths of a second.

Standard output carries a line of JSON for each event: `{"pid": N}`, `{"refused": why}`,
`{"ended": status, "last": [lines]}`.
"""

from __future__ import annotations

import collections
import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

LAST_LINES = 20
"""How many lines of a server's log are kept for an error."""
LOG_BYTES = 16 * 2**20
"""The most bytes of a server's output that its log takes."""
_NAMESPACES = 0x00020000 | 0x10000000 | 0x40000000 | 0x08000000
"""unshare(2)'s flags: mounts, user, network, System V IPC."""
_PROCESSES = 0x20000000
"""unshare(2)'s flag of process numbers. A process with it can start no threads, so that
the guardian leaves it to the server's parent."""
_PRIVATE = 16384 | 1 << 18
"""mount(2)'s flags: recursive, and nothing is passed on to other mount namespaces."""
_NOT_RUN = 2 | 4 | 8
"""mount(2)'s flags: no set-user-id, no devices, no programs."""
_MOUNT_SETATTR = 442
"""The number of mount_setattr(2), the same on all architectures since Linux 5.12."""
_DEATH_SIGNAL, _ADOPT, _NO_NEW_RIGHTS, _SECURE_BITS, _DROP = 1, 36, 38, 28, 24
"""prctl(2)'s requests."""
_LIBC = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    """Start the server that the argument describes; return once it has ended."""
    wanted = json.loads(sys.argv[1])
    _LIBC.prctl(_ADOPT, 1, 0, 0, 0)  # what loses its parent is found and ended
    log = os.open(wanted["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) if wanted["log"] else -1
    try:
        child, server, output = _start(wanted)
    except OSError as error:
        _say(refused=f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return 3
    _say(pid=server)
    last = collections.deque[str](maxlen=LAST_LINES)
    reading = threading.Thread(target=_keep_log, args=(output, log, last), daemon=True)
    reading.start()
    if wanted["relay"]:
        listening = socket.socket(fileno=wanted["relay"])
        threading.Thread(target=_relay, args=(listening, wanted["port"]), daemon=True).start()
    status = _watch(child)
    _end_all(child)
    reading.join(1.0)
    _say(ended=status, last=list(last))
    return 0


def _start(wanted: dict[str, Any]) -> tuple[int, int, int]:
    """Start the server; return the child, the server's process, and the pipe with its output.

    The two are the same process, unless the server has a list of processes of its own.
    OSError if it cannot be started, or not be closed off.
    """
    if wanted["relay"]:
        _enter_namespaces()
    ours, theirs = os.pipe()
    checked, check = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        os.close(checked)
        _become_server(wanted, theirs, check)
    os.close(theirs)
    os.close(check)
    with os.fdopen(checked, "rb") as heard:  # ends once the server's program runs
        words = heard.read()
    first, _, why = words.partition(b"|")
    if why:
        os.waitpid(pid, 0)
        raise OSError(why.decode(errors="replace"))
    return pid, int(first or pid), ours


def _say(**event: Any) -> None:
    with suppress(OSError):
        os.write(1, (json.dumps(event) + "\n").encode())


def _watch(pid: int) -> int:
    """Wait until the server ends, or the bench; return the server's wait status."""
    handle = os.pidfd_open(pid)
    while True:
        ready = select.select([0, handle], [], [])[0]
        if handle in ready:
            return os.waitpid(pid, 0)[1]
        if not os.read(0, 1):  # the bench has closed the pipe, or ended
            _end_all(pid)
            with suppress(ChildProcessError):
                return os.waitpid(pid, 0)[1]
            return 0


def _end_all(pid: int) -> None:
    """Kill the server's process group, then whatever of its descendants is left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for _ in range(50):
        left = [child for child in _children() if child != pid]
        for child in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(child, os.WNOHANG)
        if not left:
            return
        time.sleep(0.01)


def _children() -> list[int]:
    """Return this process's children, with those that it adopted."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                fields = (path / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == os.getpid():
                    found.append(int(path.name))
    return found


def _keep_log(source: int, log: int, last: collections.deque[str]) -> None:
    """Copy the server's output into its log; keep the last lines."""
    written, rest = 0, b""
    while data := os.read(source, 65536):
        if log >= 0 and written < LOG_BYTES:
            written += os.write(log, data)
        *lines, rest = (rest + data).split(b"\n")
        rest = rest[-4096:]
        last.extend(line[-500:].decode(errors="replace") for line in lines)
    if rest:
        last.append(rest[-500:].decode(errors="replace"))


def _become_server(wanted: dict[str, Any], output: int, check: int) -> NoReturn:
    """Turn this child into the server; write why not to `check`."""
    try:
        os.setpgid(0, 0)
        _LIBC.prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        if wanted["relay"]:
            _leave_processes(check)
            _close_off(wanted["scratch"])
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        os.closerange(3, check)
        os.set_inheritable(check, False)
        os.execvpe(wanted["command"][0], wanted["command"], wanted["environment"])
    except BaseException as error:
        reason = f"{getattr(error, 'filename', None) or ''}: {getattr(error, 'strerror', None) or error}".lstrip(": ")
        os.write(check, b"|" + (reason or "unknown").encode())
        os._exit(127)


def _checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def _enter_namespaces() -> None:
    """Leave the machine's network and mounts, as a user with rights in the new ones alone."""
    user, group = os.getuid(), os.getgid()
    _checked(_LIBC.unshare(_NAMESPACES), "unshare")
    for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path("/proc/self", name).write_text(line)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        # SIOCSIFFLAGS: the namespace's own loopback, up and running.
        fcntl.ioctl(one, 0x8914, struct.pack("16sh22x", b"lo", 0x1 | 0x40))


def _leave_processes(check: int) -> None:
    """Go on as process 1 of a list of processes of its own; the parent waits and ends alike."""
    _checked(_LIBC.unshare(_PROCESSES), "unshare")
    pid = os.fork()
    if pid == 0:
        _LIBC.prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        return
    os.write(check, str(pid).encode())
    os.closerange(3, check + 1)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _close_off(scratch: str) -> None:
    """Make all files read-only but `scratch`, hide other processes, give up all rights."""

    def mount(source: bytes, target: str, kind: bytes | None, flags: int, options: bytes = b"") -> None:
        _checked(_LIBC.mount(source, target.encode(), kind, flags, options), f"mount {target}")

    mount(b"none", "/", None, _PRIVATE)
    read_only = (ctypes.c_uint64 * 4)(1, 0, 0, 0)
    size = ctypes.c_size_t(ctypes.sizeof(read_only))
    root = ctypes.c_char_p(b"/")
    whole = ctypes.c_uint(0x8000)  # AT_RECURSIVE
    _checked(_LIBC.syscall(_MOUNT_SETATTR, -100, root, whole, ctypes.byref(read_only), size), "mount_setattr")
    mount(b"proc", "/proc", b"proc", _NOT_RUN)
    mount(b"tmpfs", "/dev/shm", b"tmpfs", _NOT_RUN)
    mount(b"tmpfs", scratch, b"tmpfs", _NOT_RUN)
    _give_up_rights()


def _give_up_rights() -> None:
    """Drop all capabilities for good, so that nothing above can be undone."""
    capability = 0
    while _LIBC.prctl(_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    _checked(_LIBC.prctl(_SECURE_BITS, 0b11, 0, 0, 0), "prctl")  # user 0 gains no rights by starting a program
    _checked(_LIBC.prctl(_NO_NEW_RIGHTS, 1, 0, 0, 0), "prctl")
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    _checked(_LIBC.capset(ctypes.byref(header), ctypes.byref(none)), "capset")


def _relay(listening: socket.socket, port: int) -> None:
    """Carry connections to the Unix socket into the namespace, to the server's port."""
    while True:
        outer, _ = listening.accept()
        try:
            inner = socket.create_connection(("127.0.0.1", port), timeout=5.0)
        except OSError:
            outer.close()
            continue
        inner.settimeout(None)
        inner.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, target in ((outer, inner), (inner, outer)):
            threading.Thread(target=_copy, args=(source, target), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(262144):
            target.sendall(data)
    for one in (source, target):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    sys.exit(main())
