"""The pages about submissions: a verdict, an entry, the leaderboard."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from altbench.core.errors import AltbenchError
from altbench.page import charts
from altbench.page.html import content_policy, environment, source
from altbench.report.style import Styles
from altbench.submissions.board import Board
from altbench.submissions.entries import Entry, read_entry
from altbench.submissions.verdict import SUFFIX, Verdict
from altbench.system.files import write_text
from altbench.system.fingerprint import package_version

PACKAGE = "altbench.submissions"
"""The package of these pages' templates."""


def write_verdict_page(place: Path, archive: Path, verdict: Verdict) -> Path:
    """Write the page of a verdict beside its file `place`; return its path.

    An archive that cannot be read has a page with the findings alone.
    """
    try:
        entry = read_entry(archive, verdict)
    except AltbenchError:
        entry = None
    path = place.with_name(place.name.removesuffix(SUFFIX) + ".verdict.html")
    write_text(path, entry_page(entry, verdict, verdict.archive, back=False))
    return path


def entry_page(entry: Entry | None, verdict: Verdict | None, name: str, *, back: bool) -> str:
    """Return the page of an entry and its verdict. `back`: it belongs to a leaderboard."""
    word = entry.standing if entry and entry.verdict else "not verified"
    if verdict is not None and (entry is None or entry.verdict is None):
        word = {"verified": "verified", "refuted": "refuted"}.get(verdict.outcome, "not verified")
    title = entry.title if entry else name
    return page("entry.html", entry=entry, verdict=verdict, title=title, word=word, back=back)


def index_page(board: Board) -> str:
    """Return the leaderboard's first page."""
    return page("index.html", board.styles, board.labels, board=board)


def page(template: str, styles: Styles | None = None, labels: tuple[str, ...] = (), **values: Any) -> str:
    """Return a page from its template. `labels`: those with a look in `styles`, by their numbers."""
    colours = "".join(f".p{i}{{--c:{styles[label].colour}}}" for i, label in enumerate(labels)) if styles else ""
    style = source("page.css") + own_source("sheet.css") + colours + "\n"
    script = own_source("sheet.js")
    return (
        environment(PACKAGE)
        .get_template(template)
        .render(
            style=Markup(style),
            script=Markup(script),
            policy=content_policy(style, script),
            markers=[charts.marker(styles[label].marker) for label in labels] if styles else [],
            version=package_version("altbench"),
            **values,
        )
    )


@cache
def own_source(name: str) -> str:
    """Return a style sheet or script of these pages."""
    return (Path(__file__).parent / "templates" / name).read_text("utf-8")
