"""Measure what the outputs of many small cells cost: time of the processor, and the most memory.

The cells are of seven tasks, eight policies and eighteen conditions, and of as many
training seeds as make up their number. One of each kind is made by the project's own
writer, the others are its copies under other names. Each step is measured as a run's end
does it: read all cells, write the flat tables, make the tables, figures and the page.

    python benchmarks/table_memory.py 20000
    python benchmarks/table_memory.py 100000 --episodes 10 --folder /dev/shm/many
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import itertools
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import synthetic

from altbench.page import write_page
from altbench.report.figures import write_figures
from altbench.report.lookups import lookups_table
from altbench.report.tables import write_tables
from altbench.results import cells, frames
from altbench.results.recorded import Recorded
from altbench.rollout.records import CellHeader, EpisodeRecord
from altbench.stats.parts import EpisodeParts
from altbench.sweeps.spec import DemonstrationEntry
from altbench.system import fingerprint, sealed

DECISIONS = 12
TASKS = ("Lift", "Can", "Door", "Stack", "Square", "ToolHang", "Transport")
ROWS = tuple((label, n) for label in ("alt", "bc", "diffusion", "open_loop") for n in (10, 30))
CONDITIONS = tuple(
    itertools.product(("recall", "uniform"), (("clean", 0), *itertools.product(synthetic.PERTURBATIONS, (2, 5))))
)
T = TypeVar("T")


def headers(number: int) -> Iterator[CellHeader]:
    """Yield the headers of `number` cells, all training seeds of a kind together."""
    kinds = list(itertools.product(TASKS, ROWS, CONDITIONS))
    for place in range(min(number, len(kinds))):
        task, (label, n), (split, (perturbation, severity)) = kinds[place]
        for seed in range(1000, 1000 - (place - number) // len(kinds)):
            name = f"{task}/{label}/n{n}/s{seed}/{split}/{perturbation}-{severity}"
            key = hashlib.sha256(name.encode()).hexdigest()
            own = {"checkpoint": key, "config": "x" * 900, "perturbation": [perturbation, severity, {}], "seed": 0}
            made = synthetic.header(label, n, split, perturbation, severity)
            changed = {"key": key, "name": name, "task": task, "train_seed": seed, "spec_json": json.dumps(own)}
            yield dataclasses.replace(made, **changed, checkpoint_key=key)


def episodes(header: CellHeader, count: int) -> list[EpisodeRecord]:
    """Return so many made-up episodes, a dozen decisions each."""
    rng, found = np.random.default_rng(int(header.key[:8], 16)), []
    for number in range(count):
        score = float(rng.random()) if header.label == "alt" else None
        one = synthetic.episode(number, bool(rng.random() < 0.6), score, None if score is None else score > 0.8)
        decisions = [dataclasses.replace(one.decisions[0], step=8 * step) for step in range(DECISIONS)]
        found.append(dataclasses.replace(one, decisions=tuple(decisions)))
    return found


def make(folder: Path, number: int, count: int) -> list[str]:
    """Write `number` cells of `count` episodes under `folder`; return their keys."""
    cells.divide(folder, number)
    keys, kind, data, known = [], (), b"", b""
    for header in headers(number):
        own = (header.task, header.label, header.n, header.split, header.perturbation, header.severity)
        text = json.dumps(dataclasses.asdict(header), sort_keys=True).encode()
        if own != kind:
            kind, known = own, text
            data = cells.write_cell(folder, header, episodes(header, count)).read_bytes()
        else:
            cells.cell_path(folder, header.key).write_bytes(_renamed(data, known, text))
        keys.append(header.key)
    return keys


def _renamed(data: bytes, known: bytes, text: bytes) -> bytes:
    """Return a cell's file with another header of the same length, sealed anew."""
    mark = b"altbench.sha256\x18\x40"
    changed = data.replace(known, text)
    place = changed.rfind(mark) + len(mark)
    assert len(known) == len(text) and changed != data
    zeros = sealed.NO_DIGEST
    return sealed.with_digest(changed[:place] + zeros + changed[place + len(zeros) :], place)


def most_memory() -> float:
    """Return the most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def told(what: str, before: float, step: Callable[[], T]) -> T:
    """Do a step, and print what it took; return its result."""
    began = time.process_time()
    found = step()
    print(f"| {what} | {time.process_time() - began:.1f} | {most_memory() - before:.0f} |", flush=True)
    return found


def tabulate(folder: Path, keys: list[str], skip: list[str]) -> None:
    """Make the outputs of a run, a step after the other, but those in `skip`."""
    before = most_memory()
    print("| step | s of the processor | most memory, MiB |\n|:--|--:|--:|")
    recorded: Recorded = told("read the cells", before, lambda: frames.load_recorded(folder, keys))
    parts, made_by = EpisodeParts(recorded), synthetic.FINGERPRINT
    steps: dict[str, Callable[[], object]] = {
        "flat tables": lambda: recorded.build_parquet(folder),
        "lookups": lambda: lookups_table(parts, recorded.decisions, DemonstrationEntry()),
        "tables": lambda: write_tables(parts, [], folder / "tables", made_by),
        "figures": lambda: write_figures(parts, [], folder / "figures", made_by),
        "page": lambda: write_page(folder),
    }
    fingerprint.write_fingerprint(folder, made_by)
    for name, step in steps.items():
        if name not in skip:
            told(name, before, step)
    for path in (*sorted(folder.glob("*.parquet")), *folder.glob("*.html")):
        print(f"{path.name}: {path.stat().st_size / 2**20:.1f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", type=int)
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--folder", type=Path, help="a new folder for the cells, in place of a temporary one; it stays")
    parser.add_argument("--skip", action="append", default=[], help="a step to leave out, such as figures")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    flush, os.fsync = os.fsync, lambda _: None  # the disk is not what is measured
    try:
        keys = [header.key for header in headers(options.cells)]
        if not (folder / cells.CELLS).is_dir():
            began = time.process_time()
            make(folder, options.cells, options.episodes)
            seconds = time.process_time() - began
            print(f"{options.cells:,} cells of {options.episodes} episodes written in {seconds:.0f} s of the processor")
        os.fsync = flush
        tabulate(folder, keys, options.skip)
    finally:
        if options.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
