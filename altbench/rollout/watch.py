"""Who follows an episode from outside: where it is, and what went wrong."""

from __future__ import annotations

from typing import Literal

from altbench.rollout.records import Status

Phase = Literal["loading", "simulator", "reset", "decision"]
"""What a worker is doing: loading before its first episode, then one of an episode's
three parts. The policy is asked in `reset` and `decision`.
"""
ASKED: tuple[Phase, ...] = ("reset", "decision")
"""The phases in which the policy is asked."""


class Watch:
    """A follower of one episode that does nothing; subclasses report what they hear."""

    def enter(self, phase: Phase) -> None:
        """Hear that the episode enters `phase`."""

    def caught(self, error: BaseException, status: Status) -> None:
        """Hear that `error` ended the episode with `status`."""
