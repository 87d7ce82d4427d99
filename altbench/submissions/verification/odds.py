"""How likely a fraud is found: the probabilities that a verdict prints.

A fraud is a share of episodes whose outcomes the policy did not produce. Replaying
finds actions that do not lead where the record says. What is left are actions of
another: an expert's, say. These are found by playing the policy itself again.
"""

from __future__ import annotations

import math

from scipy.special import bdtr

LEVEL = 0.01
"""The largest probability with which an honest submission fails a statistical check."""


def caught_exactly(episodes: int, drawn: int, share: float) -> float:
    """Return the probability that `drawn` of `episodes` hold one of the invented `share`.

    To the bit: one invented episode suffices. The draw is without replacement.
    """
    invented = math.ceil(share * episodes - 1e-9)
    if drawn >= episodes - invented + 1 and invented:
        return 1.0
    return 1.0 - math.comb(episodes - invented, drawn) / math.comb(episodes, drawn)


def sign_p(only_recorded: int, only_played: int) -> float:
    """Return the one-sided exact p of successes recorded that were not played again.

    On another processor an episode may end otherwise by chance, but as often one way as
    the other: the sign test asks whether it is one way.
    """
    total = only_recorded + only_played
    return 1.0 if only_recorded == 0 else float(1.0 - bdtr(only_recorded - 1, total, 0.5))


def needed() -> int:
    """Return how many successes must be lost, and none gained, for `sign_p` to be below `LEVEL`."""
    return next(n for n in range(1, 64) if sign_p(n, 0) < LEVEL)


def caught_statistically(episodes: int, drawn: int, share: float, honest: float) -> float:
    """Return the probability that the sign test finds the invented `share` among `drawn`.

    `honest`: the policy's own rate of success on the invented episodes. All else is
    taken to end as recorded.
    """
    invented = math.ceil(share * episodes - 1e-9)
    total = math.comb(episodes, drawn)
    found = 0.0
    for hit in range(needed(), min(drawn, invented) + 1):
        ways = math.comb(invented, hit) * math.comb(episodes - invented, drawn - hit) / total
        found += ways * (1.0 - float(bdtr(needed() - 1, hit, 1.0 - honest)))
    return found


def higher_p(recorded: int, of: int, fresh: int, fresh_of: int) -> float:
    """Return the one-sided exact p (Fisher) that recorded episodes succeed more often than fresh ones."""
    total, won = of + fresh_of, recorded + fresh
    ways = math.comb(total, of)
    tail = range(recorded, min(of, won) + 1)
    return sum(math.comb(won, k) * math.comb(total - won, of - k) for k in tail) / ways


def caught_by_fresh(of: int, fresh_of: int, recorded: float, honest: float) -> float:
    """Return the probability that `fresh_of` held-out episodes show a rate of `honest`, not `recorded`."""
    won = round(recorded * of)
    found = 0.0
    for fresh in range(fresh_of + 1):
        if higher_p(won, of, fresh, fresh_of) < LEVEL:
            found += math.comb(fresh_of, fresh) * honest**fresh * (1 - honest) ** (fresh_of - fresh)
    return found
