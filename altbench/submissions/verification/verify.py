"""Verifying a submission: every check by its name, and one verdict."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from altbench.core import registry
from altbench.core.errors import AltbenchError, ConfigError
from altbench.submissions.archive import Opened, opened
from altbench.submissions.manifest import OtherSchema, SubmissionError
from altbench.submissions.simulate import simulators
from altbench.submissions.verdict import Finding, Verdict, judged, outcome_of
from altbench.submissions.verification import physics, plays, rules
from altbench.submissions.verification.contents import Contents, checksums, manifest_of, read_contents, versions
from altbench.submissions.verification.physics import Progress
from altbench.submissions.verification.plays import SHARE, Wanted
from altbench.system.devices import require_renderer
from altbench.system.fingerprint import cpu_model, package_version


def verify(
    path: Path,
    share: float = SHARE,
    *,
    policy: str = "",
    demonstrations: Path | None = None,
    draw: int | None = None,
    by: str = "",
    progress: Callable[[str, int, int], None] | None = None,
) -> Verdict:
    """Verify the archive, or the folder with its parts, at `path`; return the verdict.

    `share`: of the episodes that the policy plays again, where it is there; 0: none.
    `policy`: a server's URL, `file.py:Class` or a name, in place of the archive's
    checkpoint. `demonstrations`: a file whose checksum is compared. `draw`: the seed by
    which episodes are drawn; None draws one now, so that nobody knew it before. `by`:
    who verifies. `progress`: is told what is done, how much of it, of how much. What is
    wrong with an archive is in the verdict. ConfigError if the archive is missing.
    """
    if not path.exists():
        raise ConfigError(f"{path}: no such archive or folder; `altbench submit pack` makes one")
    if not 0 <= share <= 1:
        raise ConfigError(f"play: expected a share from 0 to 1, got {share:g}")
    seed = secrets.randbits(62) if draw is None else draw
    digest, findings = "", []
    try:
        with opened(path) as archive:
            digest = archive.digest
            findings = _findings(archive, Wanted(share, seed, policy), demonstrations, progress or _nobody)
    except OtherSchema as error:
        findings = [Finding(check="archive", state="unknown", text=str(error))]
    except SubmissionError as error:
        findings = [Finding(check="archive", state="failed", text=str(error))]
    played = any(one.check == "policy" and one.state == "passed" for one in findings)
    return Verdict(
        archive=path.name,
        digest=digest,
        outcome=outcome_of(findings),
        level="policy" if played else "records",
        findings=tuple(findings),
        by=by,
        date=datetime.now(UTC).date().isoformat(),
        draw=seed,
        machine=cpu_model(),
        altbench=package_version("altbench") or "",
    )


def _nobody(what: str, done: int, of: int) -> None:
    """Tell nobody what is done."""
    del what, done, of


def _findings(
    archive: Opened, wanted: Wanted, file: Path | None, progress: Callable[[str, int, int], None]
) -> list[Finding]:
    """Return the findings of all checks, cheapest first; what rests on a failed one is not reached."""
    manifest = manifest_of(archive)
    found = [
        Finding(
            check="archive", state="passed", text="Its form is the one that altbench writes, and nothing hides in it."
        ),
        checksums(archive.folder, manifest),
    ]
    if found[-1].state == "failed":
        return found
    contents = read_contents(archive, manifest)
    found += _of_records(contents)
    if any(one.state == "failed" for one in found):
        return [*found, *_not_reached("demonstrations", "initial states", "trajectories", "policy", "held-out seeds")]
    lacking = [task for task in sorted(manifest.tasks) if task not in registry.names("task")]
    if lacking:
        text = f"The task {lacking[0]!r} is not installed here."
        physical = ("demonstrations", "initial states", "trajectories")
        return [*found, *(Finding(check=one, state="unknown", text=text) for one in physical)]
    with simulators() as made:
        reached = [physics.demonstrations(contents, made)]
        if reached[0].state != "failed":
            reached += physics.trajectories(contents, made, lambda done, of: progress("episodes replayed", done, of))
    found += _softened(reached) if any(one.check == "versions" and one.state == "unknown" for one in found) else reached
    if any(one.state == "failed" for one in found):
        return [*found, *_not_reached("policy", "held-out seeds")]
    return [
        *found,
        physics.data_contents(contents, file),
        *_play(contents, wanted, lambda done, of: progress("episodes played", done, of)),
        Finding(check="time and memory", state="note", text="As the authors measured them; no check."),
    ]


def _of_records(contents: Contents) -> list[Finding]:
    """Return the findings of the checks that need no simulator."""
    cells, manifest, many = contents.cells, contents.manifest, contents.episodes
    return [
        versions(contents),
        judged("keys", rules.keys(cells, manifest), f"The keys of {len(cells)} cells are those of what they say."),
        judged("columns", rules.columns(cells), "Every checkpoint was played on all splits of the suite."),
        judged("episodes", rules.episodes(cells), f"{many} episodes, none left out and none twice."),
        judged("seeds", rules.seeds(cells), "All seeds follow from the suite's root."),
        judged("records", rules.records(cells), "Each record agrees with itself."),
        judged("tables", rules.tables(cells, manifest), "The claimed numbers are those of the records."),
    ]


def _play(contents: Contents, wanted: Wanted, progress: Progress) -> list[Finding]:
    """Return the findings of the policy's own play; what it cannot do here is unknown."""
    try:
        renderer = require_renderer() if wanted.share > 0 else ""
        return plays.policy_findings(contents, wanted, renderer, progress)
    except AltbenchError as error:
        text = f"The policy cannot be played here: {error}"
        return [Finding(check=one, state="unknown", text=text) for one in ("policy", "held-out seeds")]


def _not_reached(*checks: str) -> list[Finding]:
    return [Finding(check=one, state="unknown", text="Not reached, since an earlier check failed.") for one in checks]


def _softened(found: list[Finding]) -> list[Finding]:
    """Return findings under other versions than the archive's: what differs there refutes nothing."""
    return [
        one.model_copy(update={"state": "unknown", "text": f"Under other versions: {one.text}"})
        if one.state == "failed"
        else one
        for one in found
    ]
