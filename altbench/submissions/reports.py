"""The report of a submission: the page that a run has, made here of the archive's records.

A page that a submitter made could hold any script and any number. So none is taken: what a
reader sees follows from the records that were verified, by our own templates.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from altbench.page.load import load
from altbench.page.records import Submission
from altbench.page.write import render
from altbench.submissions.archive import opened
from altbench.submissions.entries import Entry

FOLDER = "reports"
"""Where a leaderboard has them."""


def report_page(archive: Path, entry: Entry) -> str:
    """Return the report of the archive that `entry` was read from, for a page in `FOLDER`.

    The same archive and verdict give the same text.
    """
    about = Submission(
        file=entry.file,
        title=entry.title,
        description=entry.manifest.card.description,
        standing=entry.standing,
        entry=f"../entries/{quote(entry.slug)}.html",
        archive=f"../archives/{quote(entry.file)}",
        collected={(one.task, one.n): one.collected for one in entry.shown},
    )
    with opened(archive) as parts:
        return render(load(parts.folder, about), None, {}, "", parts.digest)
