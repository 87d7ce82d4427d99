"""A policy server that the bench starts, waits for, and ends with all that it started."""

from __future__ import annotations

import json
import multiprocessing
import os
import secrets
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

from altbench.core.errors import ConfigError
from altbench.remote.connection import Address, Connection, ServerFailed, ServerRefused
from altbench.remote.settings import PORT, RemoteConfig

GUARDIAN = Path(__file__).with_name("guardian.py")
KEY = "ALTBENCH_API_KEY"
"""The environment variable in which a server that the bench starts finds its key."""
PAUSE_S = 0.05
"""Seconds between two looks whether a server answers."""
ENDING_S = 5.0
"""Seconds that a guardian may take to end its server."""


class ServerProcess:
    """A server that is started when it is first needed, and started again if it died."""

    def __init__(self, config: RemoteConfig, task: str) -> None:
        if config.process is None and config.serve is None:
            raise ConfigError("a policy in another process: expected a URL, `process` or `isolate`")
        self._config, self._task = config, task
        self._running: _Running | None = None
        self._finalizer: weakref.finalize[Any, Any] | None = None

    def __str__(self) -> str:
        process, serve = self._config.process, self._config.serve
        return f"the server {process.script}" if process else f"the server of {serve.target}" if serve else "a server"

    @property
    def pid(self) -> int | None:
        """The server's process, as this machine counts; None if it does not run."""
        return self._running.pid if self._running else None

    def connect(self) -> Connection:
        """Return a connection to the server, which is started if it does not run.

        ConfigError if it cannot be started as asked; ServerFailed, with the last lines
        of its log, if it dies or does not answer in time.
        """
        if self._running is None or not self._running.runs():
            self.close()
            self._running = _Running(self._command(), self._config.isolate == "no-network")
            self._finalizer = weakref.finalize(self, self._running.end)
        deadline = time.monotonic() + self._config.start_timeout_s
        while True:
            self._running.check(str(self))
            left = deadline - time.monotonic()
            if left <= 0:
                raise ServerFailed(f"{self}: no answer within {self._config.start_timeout_s:g} s (start_timeout_s)")
            try:
                return Connection(self._running.address, left, self._config.timeout_s)
            except ServerRefused:
                raise
            except ServerFailed:
                time.sleep(PAUSE_S)

    def died(self, error: ServerFailed) -> ServerFailed:
        """Return `error` with how the server ended and its last lines, if it did end."""
        how, last = self._running.ending() if self._running else ("", ())
        return ServerFailed(f"{error.message}{how}", last)

    def close(self) -> None:
        """End the server and all that it started."""
        if self._finalizer is not None:
            self._finalizer()
        self._running = self._finalizer = None

    def _command(self) -> list[str]:
        """Return the server's command; `{port}` stands for its port."""
        process, serve = self._config.process, self._config.serve
        if process is not None:
            _check_files(process.python, process.script)
            port = () if any(PORT in one for one in process.args) else ("--port", PORT)
            return [_program(process.python), str(Path(process.script).expanduser().absolute()), *process.args, *port]
        assert serve is not None
        return [
            *(sys.executable, "-m", "altbench", "serve", serve.target, "--task", self._task, "--port", PORT),
            *("--preset", serve.preset, "--config", json.dumps(serve.config), "--device", serve.device),
            *("--threads", str(serve.threads)),
        ]


def _program(python: str) -> str:
    """Return the interpreter; a virtual environment's own is not resolved to its link."""
    return str(Path(python).expanduser().absolute()) if "/" in python else python or sys.executable


def _check_files(python: str, script: str) -> None:
    """Raise ConfigError if interpreter or script are missing."""
    if not Path(script).expanduser().is_file():
        raise ConfigError(f"process: script: expected the file of a policy server, and {script!r} is missing")
    found = shutil.which(_program(python))
    if found is None:
        raise ConfigError(f"process: python: expected an interpreter, and {python!r} is missing or cannot be executed")


class _Running:
    """A server's guardian, and what it has said so far."""

    def __init__(self, command: list[str], alone: bool) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="altbench-serve-"))
        port, key, listening = free_port(), secrets.token_hex(16), None
        unix = str(self._folder / "socket") if alone else ""
        scratch = self._folder / "scratch"
        scratch.mkdir()
        if alone:
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listening.bind(unix)
            listening.listen(64)
        self.address = Address(f"ws://127.0.0.1:{port}", unix, key)
        wanted = {
            "command": [one.replace(PORT, str(port)) for one in command],
            "environment": _environment(key, scratch if alone else None),
            "log": _own_log(),
            "relay": listening.fileno() if listening else 0,
            "port": port,
            "scratch": str(scratch),
        }
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", str(GUARDIAN), json.dumps(wanted)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[listening.fileno()] if listening else [],
            process_group=0,  # Ctrl-C is the bench's, which then ends the server
        )
        if listening:
            listening.close()
        self._said, self._rest, self.pid = dict[str, Any](), b"", None
        self._owner = os.getpid()

    def _hear(self) -> None:
        """Take in what the guardian has said meanwhile."""
        assert self._guardian.stdout is not None
        source = self._guardian.stdout.fileno()
        while select.select([source], [], [], 0)[0]:
            data = os.read(source, 65536)
            if not data:
                break
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._said |= json.loads(line)
        self.pid = self._said.get("pid") if "ended" not in self._said else None

    def runs(self) -> bool:
        """Return whether the server has not ended yet."""
        self._hear()
        return "ended" not in self._said and "refused" not in self._said and self._guardian.poll() is None

    def check(self, what: str) -> None:
        """Raise ConfigError if the server could not be started as asked, ServerFailed if it died."""
        if self.runs():
            return
        if reason := self._said.get("refused"):
            if self.address.unix:
                raise ConfigError(
                    f"{what}: isolate = 'no-network' is not possible on this machine ({reason}); nothing was run; see "
                    "docs/remote.md for what it needs, or choose isolate = 'process', which protects less"
                )
            raise ConfigError(f"{what}: cannot be started: {reason}")
        how, last = self.ending()
        raise ServerFailed(f"{what}: it died before it answered{how}", last)

    def ending(self) -> tuple[str, tuple[str, ...]]:
        """Return how the server ended, and the last lines of its log; empty while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self._guardian.wait(0.5)  # a connection is lost just before its process has ended
        if self.runs():
            return "", ()
        status = self._said.get("ended")
        how = "killed with its guardian" if status is None else _in_words(int(status))
        last = tuple(line for line in self._said.get("last", []) if line.strip())
        return f" ({how}); " + ("the last lines of its log:" if last else "it printed nothing"), last

    def end(self) -> None:
        """End the server and all that it started, and wait until it is so."""
        if os.getpid() != self._owner:
            return  # a fork's copy
        assert self._guardian.stdin is not None and self._guardian.stdout is not None
        with suppress(OSError):
            self._guardian.stdin.close()
        try:
            self._guardian.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            self._guardian.kill()
            self._guardian.wait()
        self._guardian.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def free_port() -> int:
    """Return a TCP port of this machine that is free now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _environment(key: str, scratch: Path | None) -> dict[str, str]:
    """Return the server's environment: the bench's, with a key of its own."""
    own = {**os.environ, KEY: key, "PYTHONUNBUFFERED": "1"}
    if scratch is not None:
        own |= dict.fromkeys(("TMPDIR", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR"), str(scratch))
    return own


def _own_log() -> str:
    """Return the log of the job that this process does; empty if it does none.

    A worker's standard output is the job's log in the run's folder.
    """
    if multiprocessing.parent_process() is None:
        return ""
    with suppress(OSError):
        if stat.S_ISREG(os.fstat(1).st_mode):
            return str(Path("/proc/self/fd/1").readlink())
    return ""


def _in_words(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}, {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit status {os.WEXITSTATUS(status)}"
