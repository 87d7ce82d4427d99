"""How a lookup policy fails where it was shown: wrong demonstration, or wrong frame.

An episode of `recall` begins at the pose of a demonstration that its number tells. The
first kind that applies counts: its first lookup is of another demonstration; it jumps
to another one later; it deadlocks; or it looks up the right one throughout, moves on,
and fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Match = tuple[int, int]
"""A retrieved frame: the demonstration's number, and the frame in it."""
Kind = Literal["first lookup wrong", "jump", "deadlock", "right but failed"]
KINDS: tuple[Kind, ...] = ("first lookup wrong", "jump", "deadlock", "right but failed")
STUCK_DECISIONS = 4
"""Decisions in a row that retrieve nearly the same frame: a deadlock."""
STUCK_FRAMES = 2
"""How far apart these frames may be."""


@dataclass(frozen=True)
class Lookups:
    """An episode's lookups: nearest first matches, decision by decision.

    `own`: the number of the demonstration that the episode began from; None if it began
    from none.
    """

    own: int | None
    firsts: tuple[Match, ...]
    success: bool

    @property
    def first_right(self) -> bool:
        """Whether the first lookup is of the own demonstration."""
        return bool(self.firsts) and self.firsts[0][0] == self.own

    @property
    def jumps(self) -> bool:
        """Whether a lookup is of another demonstration than the first one was."""
        return any(match[0] != self.firsts[0][0] for match in self.firsts)

    @property
    def deadlocked(self) -> bool:
        """Whether it retrieves nearly the same frame over and over."""
        return has_deadlock(self.firsts)

    @property
    def failure(self) -> Kind | None:
        """The first kind that applies to a failed episode; None for a success."""
        if self.success or not self.firsts:
            return None
        if self.own is not None and not self.first_right:
            return "first lookup wrong"
        if self.jumps:
            return "jump"
        return "deadlock" if self.deadlocked else "right but failed"


def has_deadlock(firsts: Sequence[Match]) -> bool:
    """Return whether four decisions in a row retrieve one demonstration within ±2 frames.

    The frames of the four are at most 2 from the first of them.
    """
    for start in range(len(firsts) - STUCK_DECISIONS + 1):
        demonstration, frame = firsts[start]
        run = firsts[start : start + STUCK_DECISIONS]
        if all(d == demonstration and abs(f - frame) <= STUCK_FRAMES for d, f in run):
            return True
    return False


@dataclass(frozen=True)
class Taxonomy:
    """Counts over the episodes of one cell.

    `right`: episodes whose first lookup is right; `right_solved` of them succeed, and
    `wrong_solved` of the others. `failures` by kind; `deadlocks`: failures that hold a
    deadlock, of whatever kind they are; `deadlocked_successes`: successes that hold one.
    """

    episodes: int
    solved: int
    right: int
    right_solved: int
    wrong_solved: int
    failures: dict[Kind, int]
    deadlocks: int
    deadlocked_successes: int


def count(episodes: Sequence[Lookups]) -> Taxonomy:
    """Count how the lookups of `episodes` went."""
    solved = [one for one in episodes if one.success]
    failed = [one for one in episodes if not one.success]
    kinds = [one.failure for one in failed]
    return Taxonomy(
        episodes=len(episodes),
        solved=len(solved),
        right=sum(one.first_right for one in episodes),
        right_solved=sum(one.first_right for one in solved),
        wrong_solved=sum(not one.first_right for one in solved),
        failures={kind: kinds.count(kind) for kind in KINDS},
        deadlocks=sum(one.deadlocked for one in failed),
        deadlocked_successes=sum(one.deadlocked for one in solved),
    )
