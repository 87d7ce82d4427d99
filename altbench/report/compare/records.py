"""The frozen records of a comparison of two runs."""

from __future__ import annotations

from dataclasses import dataclass

from altbench.stats.paired import PairedCounts

SIGNIFICANT = 0.05
"""A corrected p below this is significant.

Of two equal runs, at most this share is called a regression by mistake.
"""


@dataclass(frozen=True)
class PairedResult:
    """What became of the episodes that both runs have, in one group of cells.

    `name`: a cell's name, a policy's label, or "all cells". `counts`: the base run is
    first, the new one second. `low`, `high`: 95 % interval of new rate minus base rate,
    with the design effect of poses. `units`: independent units, that is
    effective poses (Kish); in a cell that repeats no pose, episodes. `clusters`: what the
    test flips as one.

    `p`: one-sided exact p of a drop. `p_worse`, `p_better`: p of a drop and of a rise,
    corrected over all tests of the comparison. `can_decide`: False if the test left the
    correction, because it could not be significant whatever its outcome.

    `smallest`: no drop below this share of the pairs could be significant, even without
    a gain; None if no possible drop could. `detectable`: a drop of this size is seen
    with 80 % probability, if it falls on whole poses; None if no possible drop is. A
    drop is possible up to the base run's rate. `missing`: how many episodes of the group
    either run lacks, which makes no rise significant.
    """

    name: str
    counts: PairedCounts
    units: int
    clusters: str
    low: float
    high: float
    p: float
    p_worse: float
    p_better: float
    can_decide: bool
    smallest: float | None
    detectable: float | None
    missing: int = 0

    @property
    def base_rate(self) -> float:
        """The success rate of the base run on the shared episodes."""
        return (self.counts.both + self.counts.only_first) / self.counts.total

    @property
    def new_rate(self) -> float:
        """The success rate of the new run on the shared episodes."""
        return (self.counts.both + self.counts.only_second) / self.counts.total

    @property
    def changed(self) -> bool:
        """True if any episode ended differently."""
        return self.counts.only_first + self.counts.only_second > 0

    @property
    def worse(self) -> bool:
        """True if the new run succeeds significantly less often."""
        return self.p_worse < SIGNIFICANT and self.counts.difference < 0

    @property
    def better(self) -> bool:
        """True if the new run succeeds significantly more often, and nothing is missing."""
        return not self.missing and self.p_better < SIGNIFICANT and self.counts.difference > 0


@dataclass(frozen=True)
class StatusChange:
    """Episodes of one policy whose status changed.

    `succeeded`: how many of them succeeded in the base run.
    """

    label: str
    base: str
    new: str
    episodes: int
    succeeded: int


@dataclass(frozen=True)
class LostEpisodes:
    """Episodes of one cell that the base run has and the new one has not.

    `reason`: "missing", or the new run's status, which does not count ("infra_error").
    `of`: how many episodes of the cell count in the base run.
    """

    name: str
    reason: str
    episodes: tuple[int, ...]
    of: int


@dataclass(frozen=True)
class CostRatio:
    """Time and memory of one policy in the new run over those in the base run.

    None: not measured in both runs. `setting`: what was measured, such as "N 30".
    """

    label: str
    setting: tuple[str, ...]
    latency: float | None
    weights_and_table: float | None
    disk: float | None
    peak_rss: float | None
    peak_vram: float | None


@dataclass(frozen=True)
class FlagChange:
    """Episodes of one policy in which a flag was raised, of `episodes` shared ones."""

    label: str
    base: int
    new: int
    episodes: int

    @property
    def ratio(self) -> float | None:
        """Flagged episodes of the new run over those of the base run; None over zero."""
        return self.new / self.base if self.base else None


@dataclass(frozen=True, repr=False)
class Comparison:
    """Two runs compared: `print` shows it as `altbench compare` does.

    `overall`, `policies`, `cells`: success in all cells, by policy and by cell.
    `unbroken`: over all cells, episodes without an error of the policy's own.
    `only_base`, `only_new`: cells of one run alone. `lost`: episodes that the new run
    lacks in cells that both have. `only_new_counts`: episodes that count in the new run
    alone. `unplayed_base`, `unplayed_new`: how many episodes each run could not play.
    `versions`: how the versions and machines differ, a line each. `costs_note`: why
    `costs` is empty, if it is.
    """

    overall: PairedResult
    policies: tuple[PairedResult, ...]
    cells: tuple[PairedResult, ...]
    unbroken: PairedResult
    only_base: tuple[str, ...]
    only_new: tuple[str, ...]
    lost: tuple[LostEpisodes, ...]
    only_new_counts: int
    unplayed_base: int
    unplayed_new: int
    statuses: tuple[StatusChange, ...]
    flags: tuple[FlagChange, ...]
    costs: tuple[CostRatio, ...]
    costs_note: str
    versions: tuple[str, ...]

    @property
    def tests(self) -> tuple[PairedResult, ...]:
        """All tests: over all cells, of errors, by policy and by cell."""
        return (self.overall, self.unbroken, *self.policies, *self.cells)

    @property
    def worse(self) -> bool:
        """True if anything is significantly worse."""
        return any(test.worse for test in self.tests)

    def __repr__(self) -> str:
        """Return one line: what was compared, what changed, and the verdict."""
        from altbench.report.compare.gate import judge

        counts = self.overall.counts
        return (
            f"<Comparison of {counts.total} episodes in {len(self.cells)} cells: {counts.only_first} lost, "
            f"{counts.only_second} gained; {judge(self).headline}>"
        )

    def __str__(self) -> str:
        """Return the whole comparison as text, 80 columns wide."""
        from altbench.report.compare.text import to_text

        return to_text(self)
