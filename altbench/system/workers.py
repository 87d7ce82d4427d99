"""Child processes that do not outlive the process that wanted their work."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from typing import Any

from altbench.core.errors import AltbenchError

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


def finished(work: Callable[[Any, int], None], plan: Any, indices: Sequence[int], workers: int) -> Iterator[int]:
    """Each of `indices` as soon as `work(plan, index)` is done in one of `workers` processes, in any order.

    What `work` raises is raised here; AltbenchError where a worker dies. Whatever happens, the workers end.
    """
    from pebble import ProcessExpired, ProcessPool

    # Spawned, because OpenGL contexts do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPool(workers, context=context, initializer=init_worker, initargs=[os.getpid()])
    try:
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
    finally:
        pool.stop()
        pool.join()
