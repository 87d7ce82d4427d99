"""A worker process of one's own, which does one call at a time and may die at any moment."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from altbench.system import processes
from altbench.system.job_log import send_to_nowhere
from altbench.system.workers import init_worker, noted_second_import, refuse_second_import, why_none_starts

BUSY_LOOK_S = 0.1
"""Seconds for which a worker looks whether threads that a call left are at work."""


ENDING_S = 5.0
"""Seconds that a worker may take to end once it has closed its pipe."""


@dataclass(frozen=True)
class Answer:
    """What a call returned, or in words what it raised. `last`: the worker ends now."""

    value: Any = None
    error: str = ""
    last: bool = False


@dataclass(frozen=True)
class Hello:
    """What a worker says first, once it has started."""


class Member:
    """A worker process: in a session of its own, without the parent's standard streams.

    It leaves Ctrl-C to its parent and ends with it. What a call leaves behind, children
    or threads that go on working, ends with the worker, which then is not used again.
    """

    def __init__(self) -> None:
        refuse_second_import("worker processes")
        # Not forked: OpenGL contexts and thread pools do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, os.getpid()), name="altbench-worker")
        self._process.start()
        theirs.close()
        self.pid = self._process.pid or 0
        self.greeted = False
        """Whether the worker has started, as far as `answer` has heard."""

    def ask(self, function: Callable[..., Any], *args: Any) -> None:
        """Let the worker call `function(*args)`; `answer` tells how that ended."""
        with suppress(BrokenPipeError, ConnectionResetError):  # it is dead, which `answer` says
            self._pipe.send((function, args))

    def sources(self) -> list[Any]:
        """Return what `multiprocessing.connection.wait` can wait for."""
        return [self._pipe, self._process.sentinel]

    def answer(self) -> Answer | int | None:
        """Return the answer, the exit code of a worker that died, or None for neither yet."""
        while True:
            said = self._said()
            if not isinstance(said, Hello):
                break
            self.greeted = True
        if said is not None:
            return said
        if self._process.is_alive():
            return None
        last = self._said()  # it may have answered just before
        code = self._process.exitcode
        return last if isinstance(last, Answer) else 0 if code is None else code

    def _said(self) -> Answer | Hello | None:
        try:
            if not self._pipe.poll():
                return None
            found = self._pipe.recv()
        except (EOFError, OSError):
            # It has closed its end, so it is about to end; it could never answer again.
            self._process.join(ENDING_S)
            self._process.kill()
            self._process.join(ENDING_S)
            return None
        except pickle.UnpicklingError:
            return None
        return found if isinstance(found, Answer | Hello) else None

    def end(self) -> None:
        """Kill the worker and all that it started."""
        processes.end_family(self.pid)
        self._process.kill()
        self._process.join(10)
        self._pipe.close()


def first_member() -> Member:
    """Return a worker that has started.

    AltbenchError if none can, with the reason if it is known.
    """
    with noted_second_import() as note:
        made, ended = Member(), None
        # A worker that ends closes its files one by one, and counts as alive until then.
        while ended is None and not made.greeted:
            wait(made.sources(), timeout=0.1)
            ended = made.answer()
        if ended is None:
            return made
        made.end()
        raise why_none_starts(note, f"exit code {ended}")


def _serve(pipe: Connection, parent: int) -> None:
    """Answer calls until the parent wants no more."""
    _detach(parent)
    own = os.getpid()
    pipe.send(Hello())
    while True:
        try:
            function, args = pipe.recv()
        except (EOFError, OSError):
            _leave(0)
        before = set(threading.enumerate())
        value, error = None, ""
        try:
            value = function(*args)
        except BaseException as raised:
            error = f"{type(raised).__name__}: {raised}"
        if os.getpid() != own:
            os._exit(1)  # a policy forked, and its child came back to here
        last = _leaves_something(before)
        pipe.send(Answer(value, error, last))
        if last:
            _leave(0)


def _detach(parent: int) -> None:
    """Leave the parent's session, terminal and pipes, but end with it."""
    with suppress(PermissionError):  # it leads a session already
        os.setsid()
    processes.adopt_orphans()
    init_worker(parent)
    send_to_nowhere()
    _leave_tracker()
    faulthandler.enable(2)  # a segfault's Python stack goes into the log


def _leave_tracker() -> None:
    """Close the pipe to the parent's resource tracker.

    The tracker holds the caller's pipe as long as any process holds this one.
    """
    tracker = getattr(resource_tracker, "_resource_tracker", None)
    descriptor = getattr(tracker, "_fd", None)
    if isinstance(descriptor, int):
        tracker._fd = None  # type: ignore[union-attr]
        with suppress(OSError):
            os.close(descriptor)


def _leaves_something(before: set[threading.Thread]) -> bool:
    """End the children that a call left; return whether there were any, or busy threads."""
    if processes.end_family(os.getpid()):
        return True
    if not [one for one in threading.enumerate() if one not in before and one.is_alive()]:
        return False
    used = time.process_time()
    time.sleep(BUSY_LOOK_S)
    return time.process_time() - used > BUSY_LOOK_S / 4


def _leave(status: int) -> None:
    """End this process at once, with all that it started."""
    processes.end_family(os.getpid())
    os._exit(status)
