"""The rule of the certificate: recalls, generalises or undecided, by numbers and in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from altbench.stats.rates import Rate

CERTIFICATE_VERSION = 1
"""The version of the rule, its thresholds and the protocol. Certificates of two versions are never compared."""
COPIED_AS_EXPERT = 0.05
"""The share of the expert's motions that count as copies, by the audit's construction."""
SURELY_COPIES = 0.10
"""A policy recalls only if the share of its copies is surely above this: twice the expert's."""
HARDLY_COPIES = 0.25
"""A policy generalises only if the share of its copies is surely below this.

With 40 episodes, an honest 5 % has an interval of up to about 17 to 20 %.
"""
SURE_LOSS = 0.10
"""A policy recalls only if it surely loses more than this from demonstrated to new poses."""
SMALL_LOSS = 0.25
"""A policy generalises only if it surely loses less than this: 40 episodes tell no less."""
Word = Literal["recalls", "generalises", "undecided"]


@dataclass(frozen=True)
class Evidence:
    """What the rule looks at. `copies`: the share of successful motions that are copies.

    `recall`, `uniform`: success on demonstrated and on new poses. `floor`: that of blind
    playback on new poses.
    """

    copies: Rate
    recall: Rate
    uniform: Rate
    floor: Rate


@dataclass(frozen=True)
class Reason:
    """A condition of the rule: in words, with its numbers, and whether it holds."""

    text: str
    holds: bool


@dataclass(frozen=True)
class Decision:
    """The rule's answer. `recalls`, `generalises`: the conditions of each; all must hold."""

    word: Word
    recalls: tuple[Reason, ...]
    generalises: tuple[Reason, ...]
    why: str = ""


def decide(found: Evidence) -> Decision:
    """Return what the rule says of a policy.

    "recalls" needs two things: motions that are copies, and a loss on new poses.
    "generalises" needs three: few copies, little loss, and more than blind playback
    gains. All by the ends of 95 % intervals, so that few episodes decide nothing.
    """
    copies, recall, uniform, floor = found.copies, found.recall, found.uniform, found.floor
    if copies.low is None or copies.high is None:
        return Decision("undecided", (), (), "Too few successful episodes, or no scripted expert to compare with.")
    if recall.value is None or uniform.value is None or uniform.low is None or floor.value is None:
        return Decision("undecided", (), (), "Some episodes are missing.")
    low, high = difference(recall, uniform)
    recalls = (
        Reason(
            f"More than {_percent(SURELY_COPIES)} of its successful motions are copies of a demonstration: "
            f"{_interval(copies)}. (Of the expert's, {_percent(COPIED_AS_EXPERT)} are.)",
            copies.low > SURELY_COPIES,
        ),
        Reason(
            f"On new poses it loses more than {_points(SURE_LOSS)}: the difference is {_between(low, high)}.",
            high < -SURE_LOSS,
        ),
    )
    generalises = (
        Reason(
            f"Fewer than {_percent(HARDLY_COPIES)} of its successful motions are copies: {_interval(copies)}.",
            copies.high < HARDLY_COPIES,
        ),
        Reason(
            f"On new poses it loses less than {_points(SMALL_LOSS)}: the difference is {_between(low, high)}.",
            low > -SMALL_LOSS,
        ),
        Reason(
            f"On new poses it succeeds more often than blind playback: {_interval(uniform)} against "
            f"{_percent(floor.value)}.",
            uniform.low > floor.value,
        ),
    )
    word: Word = "undecided"
    if all(one.holds for one in recalls):
        word = "recalls"
    elif all(one.holds for one in generalises):
        word = "generalises"
    return Decision(word, recalls, generalises)


def difference(first: Rate, second: Rate) -> tuple[float, float]:
    """Return the 95 % interval of the second rate minus the first, of independent episodes.

    Newcombe (1998), Statistics in Medicine 17, 873-890, method 10, from the intervals
    that the rates have.
    """
    if None in (first.value, first.low, first.high, second.value, second.low, second.high):
        raise ValueError("expected two rates with intervals, got one without episodes")
    a, a_low, a_high = (float(x or 0.0) for x in (first.value, first.low, first.high))
    b, b_low, b_high = (float(x or 0.0) for x in (second.value, second.low, second.high))
    change = b - a
    return (
        max(-1.0, change - math.hypot(b - b_low, a_high - a)),
        min(1.0, change + math.hypot(b_high - b, a - a_low)),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _points(share: float) -> str:
    return f"{100 * share:.0f} percentage points"


def _interval(rate: Rate) -> str:
    if rate.value is None or rate.low is None or rate.high is None:
        return "unknown"
    return f"{_percent(rate.value)} [{100 * rate.low:.0f}, {100 * rate.high:.0f}]"


def _between(low: float, high: float) -> str:
    return f"between {100 * low:+.0f} and {100 * high:+.0f} points".replace("-", "−")
