"""What a verification found: findings by the name of their check, and one outcome."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from altbench.core.spec import Spec
from altbench.system import sealed

State = Literal["passed", "failed", "unknown", "note"]
"""`unknown`: it could not be checked here. `note`: it is told, and no check."""
Outcome = Literal["verified", "refuted", "unchecked"]
STATUS: dict[Outcome, int] = {"verified": 0, "refuted": 1, "unchecked": 2}
"""The exit status of each outcome."""
MOST_DETAILS = 10
"""The most details that a finding lists."""
OPTIONAL = ("contents of demonstrations", "policy", "held-out seeds")
"""The checks that may stay unknown: the records are verified without them."""
SUFFIX = ".verdict.json"
"""What the verdict of mine.zip is called: mine.verdict.json."""


class Finding(Spec):
    """What one check found, in a sentence, with details such as the episodes that failed it."""

    check: str
    state: State
    text: str
    details: tuple[str, ...] = ()


class Verdict(Spec):
    """The result of verifying one archive.

    `digest`: of the archive. `level`: "policy" if the policy itself was played again,
    "records" if what is recorded was. `by`: who verified it; `date`: when (UTC).
    `draw`: the seed by which episodes were drawn to be played again. `machine`,
    `altbench`: where, and with which version.
    """

    archive: str
    digest: str
    outcome: Outcome
    level: Literal["records", "policy"] = "records"
    findings: tuple[Finding, ...]
    by: str = ""
    date: str = ""
    draw: int | None = None
    machine: str = ""
    altbench: str = ""

    @property
    def status(self) -> int:
        """The exit status: 0 verified, 1 refuted, 2 cannot be checked."""
        return STATUS[self.outcome]

    @property
    def sentence(self) -> str:
        """The outcome in one sentence."""
        failed = [one.check for one in self.findings if one.state == "failed"]
        unknown = [one.check for one in self.findings if one.state == "unknown" and one.check not in OPTIONAL]
        if self.outcome == "refuted":
            return f"Refuted: {', '.join(failed)} failed."
        if self.outcome == "unchecked":
            return f"Cannot be checked here: {', '.join(unknown)}."
        if self.level == "policy":
            return "Verified: the records hold, and the policy, played again, does what they say."
        return "Verified: the records hold. The policy itself was not played again."


def outcome_of(findings: Iterable[Finding]) -> Outcome:
    """Return the outcome: any failed check refutes; what must be checked and could not be leaves it open."""
    found = list(findings)
    if any(one.state == "failed" for one in found):
        return "refuted"
    if any(one.state == "unknown" and one.check not in OPTIONAL for one in found):
        return "unchecked"
    return "verified"


def judged(check: str, faults: Sequence[str], good: str) -> Finding:
    """Return the finding of a check: passed with the sentence `good`, or failed with its `faults`."""
    if not faults:
        return Finding(check=check, state="passed", text=good)
    more = len(faults) - MOST_DETAILS
    details = (*faults[:MOST_DETAILS], *([f"and {more} more"] if more > 0 else []))
    return Finding(check=check, state="failed", text=faults[0], details=details if len(faults) > 1 else ())


def verdict_path(archive: Path) -> Path:
    """Return where the verdict of an archive, or of a folder, lies: beside it."""
    return archive.with_name(archive.name.removesuffix(".zip") + SUFFIX)


def write_verdict(path: Path, verdict: Verdict) -> None:
    """Write a verdict, sealed and whole or not at all."""
    sealed.write_json(path, verdict.model_dump(mode="json"))


def read_verdict(path: Path) -> Verdict:
    """Return the verdict in `path`; ResultsError or ConfigError if it is damaged or none."""
    return Verdict.parse(sealed.read_json(path, ("format",), "verify the archive again"), path.name)
