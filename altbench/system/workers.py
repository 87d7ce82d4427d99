"""Worker processes that end with the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from altbench.core.errors import AltbenchError
from altbench.system.processes import end_family

if TYPE_CHECKING:
    from pebble import ProcessPool

CHECK_S = 1.0
"""Seconds between a worker's checks that its parent still runs."""


SECOND_IMPORT = "ALTBENCH_SECOND_IMPORT"
"""The environment variable that names a file, in which a worker process says that its
parent's script has no main guard."""
NO_MAIN_GUARD = (
    "worker processes import the script that started them, and this one then starts the work again; "
    'put its calls of altbench under `if __name__ == "__main__":`, or use workers=0'
)
"""What to do about a script without a main guard."""


def refuse_second_import(what: str) -> None:
    """Raise AltbenchError if a worker process is just importing its parent's script.

    A script without a main guard calls `what` again in each worker. The worker cannot
    know how to go on, so it says why and ends.
    """
    if not getattr(multiprocessing.current_process(), "_inheriting", False):
        return
    if note := os.environ.get(SECOND_IMPORT):
        Path(note).write_text(what, encoding="utf-8")
        # No traceback: the parent says it in one line, once.
        os._exit(1)
    raise AltbenchError(f"{what}: {NO_MAIN_GUARD}")


def check_workers_start(pool: ProcessPool) -> None:
    """Raise AltbenchError if no worker of `pool` can start, with the reason if known."""
    from concurrent.futures.process import BrokenProcessPool

    from pebble import ProcessExpired

    with noted_second_import() as note:
        try:
            pool.schedule(os.getpid).result()
        except (ProcessExpired, BrokenProcessPool) as error:
            raise why_none_starts(note, str(error)) from error


@contextmanager
def noted_second_import() -> Iterator[Path]:
    """Yield the file in which a worker that starts in the block says what it refused.

    See `refuse_second_import`. The file is missing if nothing was refused.
    """
    with tempfile.TemporaryDirectory(prefix="altbench-") as folder:
        note = Path(folder) / "note"
        os.environ[SECOND_IMPORT] = str(note)
        try:
            yield note
        finally:
            del os.environ[SECOND_IMPORT]


def why_none_starts(note: Path, ended: str) -> AltbenchError:
    """Return the error for a worker that could not start: what it noted, or how it `ended`."""
    if note.is_file():
        return AltbenchError(f"{note.read_text(encoding='utf-8')}: {NO_MAIN_GUARD}")
    return AltbenchError(f"no worker process could start ({ended}); use workers=0 to see why")


def init_worker(parent: int) -> None:
    """Leave Ctrl-C to `parent`, and end with it: what a worker does first."""
    # Ctrl-C reaches all processes of a terminal; the parent decides what stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # SLURM sends this one to all processes of a job that is to end soon.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    end_with(parent)


def end_with(parent: int) -> None:
    """End this process about a second after its parent process `parent` has ended.

    Also if the parent was ended by kill -9.
    """
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(CHECK_S)
    end_family(os.getpid())
    os._exit(1)


def spawned_pool(workers: int, prepare: Callable[..., None] | None = None, *args: Any) -> ProcessPool:
    """Return a pool of processes that leave Ctrl-C to this one and end with it.

    Each calls `prepare(*args)` before its first work.
    """
    from pebble import ProcessPool

    refuse_second_import("worker processes")
    # Not forked: OpenGL contexts and thread pools do not survive a fork.
    context = multiprocessing.get_context("spawn")
    return ProcessPool(workers, context=context, initializer=_begin, initargs=[os.getpid(), prepare, args])


def _begin(parent: int, prepare: Callable[..., None] | None, args: Sequence[Any]) -> None:
    init_worker(parent)
    if prepare is not None:
        prepare(*args)


@contextmanager
def worker_pool(workers: int, prepare: Callable[..., None] | None = None, *args: Any) -> Iterator[ProcessPool]:
    """Yield a `spawned_pool` whose workers end with the block, also if it raises."""
    pool = spawned_pool(workers, prepare, *args)
    try:
        check_workers_start(pool)
        yield pool
    finally:
        pool.stop()
        pool.join()


def finished(work: Callable[[Any, int], None], plan: Any, indices: Sequence[int], workers: int) -> Iterator[int]:
    """Call `work(plan, index)` in worker processes; yield each index once finished.

    The order is that in which they finish. Raise what `work` raises, or AltbenchError
    if a worker dies. In any case all workers end.
    """
    from concurrent.futures.process import BrokenProcessPool

    from pebble import ProcessExpired

    with worker_pool(min(workers, len(indices))) as pool:
        running = {pool.schedule(work, args=[plan, index]): index for index in indices}
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                index = running.pop(future)
                try:
                    future.result()
                except (ProcessExpired, BrokenProcessPool) as error:
                    ended = f"exit code {error.exitcode}" if isinstance(error, ProcessExpired) else str(error)
                    where = f"a worker process died at number {index} ({ended})"
                    raise AltbenchError(f"{where}; the same command continues with what is missing") from error
                yield index
