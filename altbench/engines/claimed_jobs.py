"""The jobs of a run that one worker claims, as the feed of its scheduler."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from altbench.engines.blocks import is_done
from altbench.engines.claims import MOST_LOST, Claims, Taken
from altbench.results.run import Run
from altbench.runner.jobs import Job, RolloutJob
from altbench.runner.scheduler import Feed

IDLE_S = 0.05
NOT_FITTED = "its checkpoint could not be fitted"


@dataclass
class _Progress:
    """What became of a block's jobs so far."""

    left: set[str]
    found: int = 0
    ran: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)

    def report(self, machine: str) -> dict[str, Any]:
        return {"found": self.found, "ran": self.ran, "failed": self.failed, "machine": machine}


class ClaimedJobs(Feed):
    """The jobs of the blocks that one worker claims, one block after the other."""

    def __init__(self, run: Run, claims: Claims, older: dict[str, Sequence[str]], machine: str) -> None:
        self.run, self.claims, self.older, self.machine = run, claims, older, machine
        self._blocks: dict[int, _Progress] = {}
        self._block_of: dict[str, int] = {}

    def is_over(self) -> bool:
        return self.claims.is_over()

    def check(self) -> None:
        self.claims.check()

    def more(self, free: int) -> list[Job]:
        jobs: list[Job] = []
        while len(jobs) < free and (taken := self.claims.take()) is not None:
            jobs += self._begin(taken)
        if not jobs and not self._blocks:
            time.sleep(IDLE_S)  # others work; this process has nothing to wait for
        return jobs

    def _begin(self, taken: Taken) -> list[Job]:
        """Return those jobs of a block that are to do."""
        everything = self.claims.layout.jobs(taken.number, self.older, self.claims.proof(taken.number))
        jobs = [job for job in everything if not is_done(self.run, job)]
        block = _Progress({job.key for job in jobs}, found=sum(isinstance(j, RolloutJob) for j in everything))
        block.found -= sum(isinstance(job, RolloutJob) for job in jobs)
        self._blocks[taken.number] = block
        self._block_of.update(dict.fromkeys(block.left, taken.number))
        reason = self._why_not(taken)
        if reason:
            for job in jobs:
                with suppress(OSError):
                    job.record_missing(self.run, reason)
                self.ended(job, reason)
            return []
        if not jobs:
            self._finish(taken.number)
        return jobs

    def _why_not(self, taken: Taken) -> str:
        if self.claims.fit_failed(taken.number):
            return NOT_FITTED
        if taken.lost >= MOST_LOST:
            return f"its worker was lost {taken.lost} times, whole; run the sweep again"
        return ""

    def ended(self, job: Job, error: str) -> None:
        number = self._block_of.pop(job.key)
        block = self._blocks[number]
        block.left.discard(job.key)
        if error:
            block.failed.append((job.name, error))
        elif isinstance(job, RolloutJob):
            block.ran += 1
        if not block.left:
            self._finish(number)

    def _finish(self, number: int) -> None:
        self.claims.finish(number, self._blocks.pop(number).report(self.machine))
