"""Simulate a run of a million cells on a thousand workers: what do claims and listings cost?

A discrete-event simulation of altbench/engines/claims.py: each worker lists folders of
claims, claims blocks of cells, and plays them. The file server does one request after
another in `servers` threads; each request has a service time. All workers start at once,
which is the worst case. A few workers die. Prints one table, in Markdown.

    python benchmarks/simulate_workers.py
    python benchmarks/simulate_workers.py --cells 100000 --workers 100 --out sim.md
"""

from __future__ import annotations

import argparse
import heapq
import random
from dataclasses import dataclass, field
from pathlib import Path

from altbench.engines.blocks import MOST_BLOCKS
from altbench.engines.claims import A_FOLDER, FOLDERS_A_LOOK, PAUSES_S
from altbench.system.lease import BEAT_S, STALE_S

REQUESTS = {"claim": 7, "mark": 5, "look": 2}
"""Requests to the file server: a claim reads, writes a file, links and unlinks it, and
looks for the mark; a mark is written, flushed and renamed, and the lease goes."""
CELL_REQUESTS = 8
"""Requests of one cell: its file is written, flushed and renamed; beats and checks."""


@dataclass
class Server:
    """A file server with `threads`; each request takes `request_s`, each name that a
    listing returns `name_s`. `waited`: seconds that requests waited for a thread."""

    threads: int
    request_s: float
    name_s: float
    free: list[float] = field(default_factory=list)
    requests: int = 0
    listed: int = 0
    busy_s: float = 0.0

    def __post_init__(self) -> None:
        self.free = [0.0] * self.threads

    def serve(self, now: float, requests: int, names: int = 0) -> float:
        """Return when `requests` that come at `now` are answered."""
        begin = max(now, heapq.heappop(self.free))
        seconds = requests * self.request_s + names * self.name_s
        heapq.heappush(self.free, begin + seconds)
        self.requests, self.listed, self.busy_s = self.requests + requests, self.listed + names, self.busy_s + seconds
        return begin + seconds


@dataclass
class Worker:
    """A worker and what it has cost: seconds in claims, and idle at the end."""

    number: int
    start: int
    slots: int
    open: list[int] = field(default_factory=list)
    claiming_s: float = 0.0
    waiting_s: float = 0.0
    pause: float = PAUSES_S[0]
    in_vain: int = 0


FREE, TAKEN, DONE = 0, 1, 2


class Simulation:
    """One run. `cell_s`: mean seconds of a cell; they differ by a log-normal factor."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.random = random.Random(options.seed)
        self.server = Server(options.servers, options.request_ms / 1e3, options.name_us / 1e6)
        self.size = options.block or max(1, -(-options.cells // MOST_BLOCKS))
        self.blocks = -(-options.cells // self.size)
        self.state = bytearray(self.blocks)
        self.dead: dict[int, float] = {}
        self.left_in = [min(A_FOLDER, self.blocks - p * A_FOLDER) for p in range(-(-self.blocks // A_FOLDER))]
        self.largest = 0
        self.events: list[tuple[float, int, int, int]] = []
        self.workers = [self._worker(i) for i in range(options.workers)]
        self.first_block = self.last_block = 0.0
        self.done = 0

    def _worker(self, number: int) -> Worker:
        start = (
            number * self.blocks // self.options.workers if self.options.shard else self.random.randrange(self.blocks)
        )
        count, first = len(self.left_in), start // A_FOLDER
        return Worker(number, start, self.options.slots, [*range(first, count), *range(first)])

    def run(self) -> None:
        """Play all events."""
        for worker in self.workers:
            self._push(0.0, worker, -1)
        deaths = self.random.sample(self.workers, self.options.deaths)
        self.dies = {worker.number: self.random.uniform(0.1, 0.9) * self._ideal() for worker in deaths}
        while self.events and self.done < self.blocks:
            now, _, number, block = heapq.heappop(self.events)
            worker = self.workers[number]
            if number in self.dies and now > self.dies[number]:
                if block >= 0:
                    self.dead[block] = self.dies[number] + STALE_S
                continue
            if block >= 0:
                now = self._finish(worker, now, block)
            self._claim(worker, now)

    def _ideal(self) -> float:
        options = self.options
        return options.cells * options.cell_s / (options.workers * options.slots)

    def needed_s(self) -> float:
        """Return the seconds that the cells take alone, on the workers that are alive."""
        work, deaths = self._ideal() * self.options.workers, self.dies.values()
        return (work - sum(deaths)) / (self.options.workers - len(deaths))

    def _push(self, when: float, worker: Worker, block: int) -> None:
        heapq.heappush(self.events, (when, self.random.getrandbits(30), worker.number, block))

    def _finish(self, worker: Worker, now: float, block: int) -> float:
        self.state[block] = DONE
        self.left_in[block // A_FOLDER] -= 1
        self.done, self.last_block = self.done + 1, max(self.last_block, now)
        end = self.server.serve(now, REQUESTS["mark"])
        worker.claiming_s += end - now
        return end

    def _claim(self, worker: Worker, now: float) -> None:
        begin = now
        for part in worker.open[:FOLDERS_A_LOOK]:
            # A folder holds a mark of each done block, and a lease of each taken one.
            first = part * A_FOLDER
            own = self.state[first : first + A_FOLDER]
            names = len(own) - own.count(FREE)
            self.largest = max(self.largest, names)
            now = self.server.serve(now, REQUESTS["look"], names)
            block = self._pick(worker, part, now)
            if block is not None:
                now = self.server.serve(now, REQUESTS["claim"])
                worker.claiming_s += now - begin
                worker.pause, worker.in_vain = PAUSES_S[0], 0
                self._work(worker, now, block)
                return
            worker.open.remove(part)
            if self.left_in[part]:
                worker.open.append(part)
                worker.in_vain += 1
        worker.claiming_s += now - begin
        if not worker.open:
            return
        if worker.in_vain >= len(worker.open):
            worker.in_vain, again = 0, now + worker.pause
            worker.pause = min(2 * worker.pause, PAUSES_S[1])
        else:
            again = now
        worker.waiting_s += again - now
        self._push(again, worker, -1)

    def _pick(self, worker: Worker, part: int, now: float) -> int | None:
        first, end = part * A_FOLDER, min((part + 1) * A_FOLDER, self.blocks)
        begin = worker.start if first <= worker.start < end else first
        for low, high in ((begin, end), (first, begin)):
            if (block := self.state.find(FREE, low, high)) >= 0:
                self.state[block] = TAKEN
                return block
        late = [block for block, when in self.dead.items() if first <= block < end and now >= when]
        if late:
            del self.dead[late[0]]
            return late[0]
        return None

    def _work(self, worker: Worker, now: float, block: int) -> None:
        cells = min(self.size, self.options.cells - block * self.size)
        seconds = (
            sum(self.random.lognormvariate(-0.125, 0.5) for _ in range(cells)) * self.options.cell_s / worker.slots
        )
        self.server.requests += CELL_REQUESTS * cells
        self._push(now + seconds, worker, block)


def report(one: Simulation) -> str:
    """Return the simulation's answer as a Markdown table."""
    options, ideal = one.options, one.needed_s()
    workers = options.workers
    claims = sum(worker.claiming_s for worker in one.workers) / workers
    tail = one.last_block - ideal
    beats = workers / BEAT_S
    rows = [
        ("cells; workers; cells at once in a worker", f"{options.cells:,}; {workers:,}; {options.slots}"),
        ("cells in a block; blocks", f"{one.size}; {one.blocks:,}"),
        ("time without any cost", f"{ideal / 3600:.2f} h"),
        ("simulated time", f"{one.last_block / 3600:.2f} h"),
        ("lost to claims, marks and listings, a worker", f"{claims:.1f} s ({100 * claims / ideal:.3f} %)"),
        ("lost in all, with the last blocks and what died", f"{tail:.0f} s ({100 * tail / ideal:.2f} %)"),
        (
            "requests to the file server",
            f"{one.server.requests:,} ({one.server.requests / one.last_block:.0f} a second)",
        ),
        ("beats of leases", f"{beats:.0f} a second"),
        ("names listed", f"{one.server.listed:,}; at most {one.largest} in one listing"),
        ("file server busy with claims", f"{100 * one.server.busy_s / options.servers / one.last_block:.2f} %"),
        ("files in a folder of claims, at most", f"{A_FOLDER}"),
        ("files in a folder of cells", f"{options.cells:,} flat; {-(-options.cells // 256):,} divided"),
    ]
    lines = ["| | |", "|:--|:--|", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--slots", type=int, default=1, help="cells that a worker plays at once")
    parser.add_argument("--cell-s", type=float, default=75.0, help="mean seconds of a cell")
    parser.add_argument("--block", type=int, default=0, help="cells in a block; 0: as altbench chooses")
    parser.add_argument("--deaths", type=int, default=10)
    parser.add_argument("--servers", type=int, default=8, help="threads of the file server")
    parser.add_argument("--request-ms", type=float, default=1.0)
    parser.add_argument("--name-us", type=float, default=5.0)
    parser.add_argument("--shard", action="store_true", help="workers begin evenly, as with --shard")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="")
    options = parser.parse_args()
    one = Simulation(options)
    one.run()
    text = report(one)
    print(text)
    if options.out:
        Path(options.out).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
