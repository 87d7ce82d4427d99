"""Claims of blocks: a lease says who does a block, a mark that it is done and how.

A folder holds at most `A_FOLDER` blocks, and a look lists a few folders alone. So neither
a folder nor a listing grows with the run. Each worker begins elsewhere.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from altbench.core.errors import AltbenchError
from altbench.engines.blocks import Layout
from altbench.system import lease
from altbench.system.files import replacing, write_text
from altbench.system.lease import BEAT_S, STALE_S, Lease, Proof, Watch
from altbench.system.workers import CHECK_S

A_FOLDER = 256
"""Blocks whose claims lie in one folder."""
FOLDERS_A_LOOK = 4
"""How many folders one look lists."""
PAUSES_S = (0.1, 2.0)
"""Seconds between looks that find nothing: at first, and at most."""
MOST_LOST = 3
"""How many workers a block may lose."""


@dataclass(frozen=True)
class Taken:
    """A block that this worker has. `lost`: how many workers died with it before."""

    number: int
    lost: int = 0


class Claims:
    """The claims of one worker on the blocks of a run.

    `start`: the block at which it begins. `stale_s`, `beat_s`: as in system/lease.py.
    """

    def __init__(
        self, folder: Path, layout: Layout, start: int = 0, stale_s: float = STALE_S, beat_s: float = BEAT_S
    ) -> None:
        self.folder, self.layout, self._beat_s, self._start = folder, layout, beat_s, start
        self._watch = Watch(stale_s)
        self._leases: dict[int, Lease] = {}
        self._done: set[int] = set()
        self._failed_fits: set[int] = set()
        self._fits_are_done = False
        count = -(-layout.total // A_FOLDER)
        first = start // A_FOLDER if count else 0
        self._open = [*range(first, count), *range(min(first, count))]
        self._next_look, self._pause, self._in_vain = 0.0, PAUSES_S[0], 0

    def is_over(self) -> bool:
        """Return whether all blocks are done, whoever did them."""
        return not self._open and not self._leases

    def fit_failed(self, number: int) -> bool:
        """Return whether a fit that the block `number` waits for has failed."""
        return bool(self.layout.needs(number) & self._failed_fits)

    def proof(self, number: int) -> Proof:
        """Return what a job of the block asks before it writes a result."""
        return self._leases[number].proof

    def check(self) -> None:
        """Raise AltbenchError if another worker has taken over a block of this one."""
        for one in self._leases.values():
            one.check()

    def take(self) -> Taken | None:
        """Claim a block that may be done now; None if no block is free at the moment."""
        if not self._open or time.monotonic() < self._next_look:
            return None
        for part in self._open[:FOLDERS_A_LOOK]:
            found = self._take_from(part)
            if found is not None:
                self._pause, self._in_vain = PAUSES_S[0], 0
                return found
            self._turn(part)
        if self._in_vain >= len(self._open):
            self._next_look, self._pause = time.monotonic() + self._pause, min(2 * self._pause, PAUSES_S[1])
            self._in_vain = 0
        return None

    def _turn(self, part: int) -> None:
        """Go on with another folder; one in which all is done is never listed again."""
        self._open.remove(part)
        if not all(number in self._done for number in self._numbers(part)):
            self._open.append(part)
            self._in_vain += 1

    def _numbers(self, part: int) -> Iterator[int]:
        """Yield the blocks of a folder, from where this worker begins."""
        first, end = part * A_FOLDER, min((part + 1) * A_FOLDER, self.layout.total)
        begin = self._start if first <= self._start < end else first
        yield from range(begin, end)
        yield from range(first, begin)

    def _take_from(self, part: int) -> Taken | None:
        names = self._list(part)
        held = []
        for number in self._numbers(part):
            if number in self._done or number in self._leases or not self._may_begin(number):
                continue
            if f"{number}.lease" in names:
                held.append(number)
            elif found := self._claim(number):
                return found
        return next(filter(None, map(self._take_over, held)), None)

    def _list(self, part: int) -> set[str]:
        """List a folder, and learn what is done."""
        place = self._place(part * A_FOLDER)
        names = {path.name for path in place.iterdir()} if place.is_dir() else set()
        for number in self._numbers(part):
            if number not in self._done and f"{number}.done" in names:
                self._learn(number)
        return names

    def _learn(self, number: int) -> None:
        self._done.add(number)
        if number < len(self.layout.fits) and _read_mark(self._mark(number)).get("failed"):
            self._failed_fits.add(number)

    def _may_begin(self, number: int) -> bool:
        if self.layout.is_last(number):
            return len(self._done) >= self.layout.total - 1
        if number < len(self.layout.fits) or self._fits_are_done:
            return True
        self._fits_are_done = all(map(self._is_done, range(len(self.layout.fits))))
        return self._fits_are_done or all(map(self._is_done, self.layout.needs(number)))

    def _is_done(self, number: int) -> bool:
        """Return whether a fit is done, which may be in a folder that was not listed."""
        if number not in self._done and self._mark(number).is_file():
            self._learn(number)
        return number in self._done

    def _claim(self, number: int, lost: int = 0) -> Taken | None:
        made = lease.claim(self._lease(number), self._watch, self._beat_s)
        if made is None:
            return None
        if self._mark(number).is_file():  # done since the listing
            made.release()
            self._learn(number)
            return None
        self._leases[number] = made
        return Taken(number, lost)

    def _take_over(self, number: int) -> Taken | None:
        """Claim a block whose worker is gone; remember how many were lost with it."""
        found = lease.look(self._lease(number), self._watch)
        if found is None or found.at_work is not False:
            return None
        made = self._claim(number)
        if made is None or found.released:
            return made
        # The children of a worker that was killed end about a second after it.
        time.sleep(2 * CHECK_S)
        path = self._lease(number).with_suffix(".lost")
        lost = (int(path.read_text()) if path.is_file() else 0) + 1
        write_text(path, str(lost))
        return Taken(number, lost)

    def finish(self, number: int, report: Mapping[str, Any]) -> None:
        """Note that a block is done, with a `report` of how, and give it back."""
        self._leases[number].proof.check()
        # Not flushed: after a crash of the machine the block is looked at again.
        with replacing(self._mark(number), durable=False) as temporary:
            temporary.write_text(json.dumps(dict(report)), encoding="utf-8")
        self._learn(number)
        self._leases.pop(number).release()
        # Nobody takes a block that has its mark, so that the lease may go.
        self._lease(number).unlink(missing_ok=True)
        self._next_look, self._pause = 0.0, PAUSES_S[0]

    def release(self) -> None:
        """Give back all blocks that are not done."""
        for one in self._leases.values():
            one.release()
        self._leases.clear()

    def _place(self, number: int) -> Path:
        return self.folder / f"{number // A_FOLDER:04x}"

    def _lease(self, number: int) -> Path:
        return self._place(number) / f"{number}.lease"

    def _mark(self, number: int) -> Path:
        return self._place(number) / f"{number}.done"


def _read_mark(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def reports(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the report of each block that is done, by number, of all workers."""
    for path in sorted(folder.glob("*/*.done"), key=lambda path: int(path.stem)):
        yield _read_mark(path)


def count_done(folder: Path) -> int:
    """Return how many blocks are done, of all workers; lists every folder."""
    return sum(1 for _ in folder.glob("*/*.done"))


def start_of(shard: str, total: int, own: int) -> int:
    """Return the block at which a worker begins, of `total`.

    `shard`: as `i/n`, the i-th part of n, from 1; empty: a place that the number `own`
    gives. AltbenchError for another form.
    """
    if not shard:
        return own % max(total, 1)
    part, slash, parts = shard.partition("/")
    if not (slash and part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        raise AltbenchError(f"--shard: expected i/n with 1 <= i <= n, such as 2/8, got {shard!r}")
    return (int(part) - 1) * total // int(parts)
