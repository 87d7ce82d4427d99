"""Measure what the tables of many small cells cost: time, and the most memory.

The cells are made by the project's own writer, one episode each, with a dozen decisions.
Each step is measured as a run's end does it: read all cells, write the flat tables, and
make the frame of episodes.

    python benchmarks/table_memory.py 20000
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import synthetic

from altbench.results import cells, frames

DECISIONS = 12
T = TypeVar("T")


def make(folder: Path, number: int) -> list[str]:
    """Write `number` cells under `folder`; return their keys."""
    cells.divide(folder, number)
    header, one = synthetic.header("bc", 30, "uniform"), synthetic.episode(0)
    decisions = tuple(dataclasses.replace(one.decisions[0], step=8 * step) for step in range(DECISIONS))
    episode = dataclasses.replace(one, decisions=decisions)
    keys = [f"{cell % 256:02x}{cell:062x}" for cell in range(number)]
    for cell, key in enumerate(keys):
        cells.write_cell(folder, dataclasses.replace(header, key=key, name=f"cell {cell}"), [episode])
    return keys


def most_memory() -> float:
    """Return the most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def told(what: str, before: float, step: Callable[[], T]) -> T:
    """Do a step, and print what it took; return its result."""
    began = time.process_time()
    found = step()
    print(f"{what}: {time.process_time() - began:.1f} s, most memory {most_memory() - before:+.0f} MiB", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", type=int)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, flush, os.fsync = Path(name), os.fsync, lambda _: None  # the disk is not what is measured
        began = time.process_time()
        keys = make(folder, options.cells)
        os.fsync = flush
        before = most_memory()
        print(
            f"{options.cells} cells written in {time.process_time() - began:.1f} s of the processor; {before:.0f} MiB"
        )
        recorded = told("read", before, lambda: frames.load_recorded(folder, keys))
        told("flat tables", before, lambda: recorded.build_parquet(folder))
        told("frame of episodes", before, recorded.episodes)


if __name__ == "__main__":
    main()
