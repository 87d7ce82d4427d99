"""Measure what an executor costs: seconds per cell of 100 cells that do nothing.

The job is real (it passes the executor, its worker, heartbeat and log) and does no work.
A cell here has no episodes' time in it, so all seconds are overhead. Ray's cluster must
run already (`ray start --head`). Prints a row of a Markdown table for each executor.

    python benchmarks/engine_overhead.py local
    python benchmarks/engine_overhead.py worker ray --workers 2
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from rich.console import Console

from altbench.engines.claims import Claims
from altbench.engines.settings import RaySettings
from altbench.results.run import Run
from altbench.runner.executors import Executor, make_executor
from altbench.runner.heartbeat import Heartbeat
from altbench.runner.jobs import Job
from altbench.runner.progress import Board
from altbench.runner.scheduler import Feed, Scheduler
from altbench.runner.worker import Worker
from altbench.sweeps.spec import load_sweep
from altbench.system.files import write_text


@dataclass(frozen=True)
class NoWork(Job):
    """A cell that only writes a small file, as a fake policy's would."""

    number: int

    kind: ClassVar[str] = "cell"
    first_guess_s: ClassVar[float] = 0.0

    @property
    def name(self) -> str:
        """Readable, such as `cell 7`."""
        return f"cell {self.number}"

    @property
    def key(self) -> str:
        """The name as a file's name."""
        return f"cell-{self.number}"

    def do(self, run: Run, worker: Worker, heartbeat: Heartbeat) -> None:
        """Write the file."""
        del worker
        heartbeat(1, 1, {})
        write_text(run.root / "cells" / f"{self.key}.txt", "done")


@dataclass(frozen=True)
class Numbers:
    """A layout of as many blocks as there are cells."""

    total: int
    fits: tuple[int, ...] = ()

    def is_last(self, number: int) -> bool:
        """Return False: there are no measurements."""
        del number
        return False


class Claimed(Feed):
    """Jobs that are claimed one by one, as `altbench worker` does."""

    def __init__(self, claims: Claims) -> None:
        self.claims = claims

    def is_over(self) -> bool:
        """Return whether all are done."""
        return self.claims.is_over()

    def more(self, free: int) -> list[Job]:
        """Claim as many as are free."""
        found: list[Job] = []
        while len(found) < free and (taken := self.claims.take()) is not None:
            found.append(NoWork(taken.number))
        return found

    def ended(self, job: Job, error: str) -> None:
        """Mark a block."""
        assert isinstance(job, NoWork) and not error, error
        self.claims.finish(job.number, {})


def measure(name: str, executor: Executor, cells: int) -> float:
    """Return the seconds per cell, after one cell that starts all workers."""
    with tempfile.TemporaryDirectory() as folder:
        sweep = load_sweep("smoke").model_copy(update={"device": "cpu"})
        run = replace(Run.begin(Path(folder), sweep, "none"), root=Path(folder))
        board = Board(Console(file=io.StringIO()))
        warm = [NoWork(-1 - one) for one in range(executor.threads)]
        failed = Scheduler(run, executor, board).finish(warm).failed
        assert not failed, failed
        layout: Any = Numbers(cells)
        feed = Claimed(Claims(Path(folder) / "claims", layout)) if name == "worker" else None
        jobs = [] if feed else [NoWork(one) for one in range(cells)]
        began = time.perf_counter()
        ended = Scheduler(run, executor, board).finish(jobs, feed)
        seconds = time.perf_counter() - began
        assert len(ended.finished) == cells and not ended.failed, ended.failed
        return seconds / cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("executors", nargs="+", choices=("local", "worker", "ray", "ray-by-value"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cells", type=int, default=100)
    options = parser.parse_args()
    print("| executor | workers | ms a cell |\n|:--|--:|--:|")
    for name in options.executors:
        if name.startswith("ray"):
            import ray

            from altbench.engines.ray_engine import RayExecutor

            ray.init(address="auto", log_to_driver=False, logging_level="ERROR", ignore_reinit_error=True)
            executor: Executor = RayExecutor(ray, RaySettings(memory_gb=0.1), shared=name == "ray")
        else:
            executor = make_executor(options.workers)
        try:
            print(f"| {name} | {executor.threads} | {1000 * measure(name, executor, options.cells):.1f} |", flush=True)
        finally:
            executor.close()


if __name__ == "__main__":
    # Ray's workers cannot import jobs that belong to the module `__main__`.
    import engine_overhead

    engine_overhead.main()
