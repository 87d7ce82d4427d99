"""What a comparison means for continuous integration: an exit status and its reasons."""

from __future__ import annotations

from dataclasses import dataclass

from altbench.core.words import count
from altbench.report.compare.records import Comparison, PairedResult

NO_REGRESSION, REGRESSION, INCOMPLETE, INCONCLUSIVE = 0, 1, 2, 3
"""The exit statuses of `altbench compare`."""


@dataclass(frozen=True)
class Gate:
    """What may pass.

    `allow_missing`: the new run may lack cells and episodes. `min_drop`: significant
    drops of fewer points (per cent of the episodes) pass. `require_power`: a drop of so
    many points must be seen with 80 % probability, over all cells and in each policy
    that succeeds often enough to drop by them; None: not required.
    """

    allow_missing: bool = False
    min_drop: float = 0.0
    require_power: float | None = None


@dataclass(frozen=True)
class Verdict:
    """An exit status, a headline, and a line for each reason."""

    status: int
    headline: str
    reasons: tuple[str, ...] = ()


def judge(comparison: Comparison, gate: Gate | None = None) -> Verdict:
    """Return the verdict: the first of regression, incomplete and inconclusive.

    A regression comes first, since it is seen whatever the missing episodes would say.
    """
    gate = gate or Gate()
    worse = [test for test in comparison.tests if fails(test, gate)]
    if worse:
        return Verdict(REGRESSION, "regression: significantly worse", tuple(map(_drop, worse)))
    if is_incomplete(comparison) and not gate.allow_missing:
        return Verdict(INCOMPLETE, f"the comparison cannot be made: the new run lacks {_missing(comparison)}")
    if weak := weak_tests(comparison, gate):
        headline = f"inconclusive: a drop of {gate.require_power:g} points could have been missed"
        return Verdict(INCONCLUSIVE, headline, weak)
    return Verdict(NO_REGRESSION, _passed(comparison), _within_margin(comparison))


def fails(test: PairedResult, gate: Gate) -> bool:
    """Return whether a test is significantly worse, by at least the margin."""
    lost = test.counts.only_first - test.counts.only_second
    # The small slack is for margins such as 0.1, which are not exact in binary.
    return test.worse and 100 * lost >= gate.min_drop * test.counts.total - 1e-9


def is_incomplete(comparison: Comparison) -> bool:
    """Return whether the new run lacks anything that the base run has."""
    return bool(comparison.only_base or comparison.lost)


def weak_tests(comparison: Comparison, gate: Gate) -> tuple[str, ...]:
    """List the tests that could miss a drop of `gate.require_power` points."""
    if gate.require_power is None:
        return ()
    wanted = gate.require_power / 100
    able = [test for test in (comparison.overall, *comparison.policies) if test.base_rate >= wanted]
    if not able:
        return (f"no policy succeeds in {gate.require_power:g} % of the episodes, so none can drop by as much",)
    return tuple(
        f"{test.name}: {seen_from(test)}" for test in able if test.detectable is None or test.detectable > wanted
    )


def seen_from(test: PairedResult) -> str:
    """Return from which drop on a test finds it with 80 % probability."""
    if test.detectable is None:
        return "no drop is found with 80 % probability"
    return f"a drop is found with 80 % probability from {points(test.detectable)} points on"


def points(share: float) -> str:
    """Return a share in points: one decimal below 10, none from there on."""
    value = 100 * share
    return f"{value:.1f}" if abs(value) < 9.95 else f"{value:.0f}"


def _drop(test: PairedResult) -> str:
    c = test.counts
    return (
        f"{test.name}: {100 * test.base_rate:.1f} % -> {100 * test.new_rate:.1f} %, {c.only_first} lost, "
        f"{c.only_second} gained of {c.total} (p {test.p_worse:.2g})"
    )


def _missing(comparison: Comparison) -> str:
    episodes = sum(len(lost.episodes) for lost in comparison.lost)
    parts = [count(len(comparison.only_base), "cell")] if comparison.only_base else []
    parts += [f"{count(episodes, 'episode')} of shared cells"] if episodes else []
    return f"{' and '.join(parts)}; run them again, or compare what there is with --allow-missing"


def _passed(comparison: Comparison) -> str:
    if any(test.changed for test in (comparison.overall, comparison.unbroken, *comparison.cells)):
        return "no regression seen, which does not show that the runs are equally good"
    return f"no regression seen: all {count(comparison.overall.counts.total, 'shared episode')} ended alike"


def _within_margin(comparison: Comparison) -> tuple[str, ...]:
    return tuple(f"{_drop(test)}; less than the margin" for test in comparison.tests if test.worse)
