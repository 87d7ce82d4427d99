"""Child processes that do not outlive the process that wanted their work."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from altbench.core.errors import AltbenchError

if TYPE_CHECKING:
    from pebble import ProcessPool

CHECK_S = 1.0


def init_worker(parent: int) -> None:
    """What every worker process does first: leave Ctrl-C to `parent`, and end with it."""
    # Ctrl-C reaches the whole process group; stopping the workers is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(parent)


def end_with(parent: int) -> None:
    """End this process, within a second or so, when its parent process `parent` is gone, even by kill -9."""
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(CHECK_S)
    os._exit(1)


def spawned_pool(workers: int, prepare: Callable[..., None] | None = None, *args: Any) -> ProcessPool:
    """Return a pool of `workers` processes that leave Ctrl-C to this one and end with it.

    Each calls `prepare(*args)` before its first work. Spawned, because OpenGL contexts and thread pools do not survive a
    fork.
    """
    from pebble import ProcessPool

    context = multiprocessing.get_context("spawn")
    return ProcessPool(workers, context=context, initializer=_begin, initargs=[os.getpid(), prepare, args])


def _begin(parent: int, prepare: Callable[..., None] | None, args: Sequence[Any]) -> None:
    init_worker(parent)
    if prepare is not None:
        prepare(*args)


@contextmanager
def worker_pool(workers: int, prepare: Callable[..., None] | None = None, *args: Any) -> Iterator[ProcessPool]:
    """A `spawned_pool` whose workers end with the block, whatever happens in it."""
    pool = spawned_pool(workers, prepare, *args)
    try:
        yield pool
    finally:
        pool.stop()
        pool.join()


def finished(work: Callable[[Any, int], None], plan: Any, indices: Sequence[int], workers: int) -> Iterator[int]:
    """Each of `indices` as soon as `work(plan, index)` is done in one of `workers` processes, in any order.

    What `work` raises is raised here; AltbenchError where a worker dies. Whatever happens, the workers end.
    """
    from pebble import ProcessExpired

    with worker_pool(workers) as pool:
        running = {pool.schedule(work, args=[plan, index]): index for index in indices}
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                index = running.pop(future)
                try:
                    future.result()
                except ProcessExpired as error:
                    where = f"a worker process died at number {index} (exit code {error.exitcode})"
                    raise AltbenchError(f"{where}; the same command goes on with what is missing") from error
                yield index
