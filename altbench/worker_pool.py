"""Independent pieces of one piece of work, shared among worker processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from typing import Any

from altbench.errors import AltbenchError
from altbench.processes import init_worker


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
