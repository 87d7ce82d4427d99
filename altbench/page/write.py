"""Writing the page of a run: one file, whole or not at all, the same for the same records."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from altbench.core.errors import ConfigError
from altbench.page import charts
from altbench.page.base import remember, remembered
from altbench.page.curves import curves
from altbench.page.failures import failures
from altbench.page.flags import flags
from altbench.page.html import content_policy, environment, source
from altbench.page.load import load
from altbench.page.pairs import pairs
from altbench.page.payload import MOST_EPISODES, as_json, payload
from altbench.page.provenance import provenance
from altbench.page.records import RunRecords
from altbench.page.verdict import verdict
from altbench.report.drawing.layout import Failures, drawing_fault
from altbench.system.files import replacing
from altbench.system.fingerprint import package_version
from altbench.system.sealed import file_digest

PAGE = "report.html"
"""The page's name in a run's folder."""
_MADE_OF = re.compile(r'<meta name="made-of" content="([0-9a-f]{64})">')
_HEAD = 4000
"""Characters at the beginning of a page that surely hold what it was made of."""


def write_page(
    root: Path,
    out: Path | None = None,
    compare: Path | None = None,
    embed_films: bool = False,
    *,
    made_of: str | None = None,
) -> Path:
    """Write the page of the run in `root`; return its path.

    `out`: None is RUN/report.html. `compare`: another run's folder, as the base; the page
    in the run's own folder keeps it when it is written again.
    `embed_films`: put films into the page; else they stay in files beside it, and are
    copied there if `out` is elsewhere. `made_of`: the digest of all that the page is made
    of, if the caller knows it already. Raises ResultsError if the folder holds no
    episodes or shares none with `compare`, ConfigError if `out` cannot be written.
    """
    target = out or root / PAGE
    if target.is_dir():
        raise ConfigError(f"{target}: is a folder; expected the name of a file, such as {PAGE}")
    run = load(root)
    beside = "" if target.absolute().parent == root.absolute() else _address(root, target.absolute().parent) + "/"
    films = _film_addresses(run, target, beside, embed_films)
    text = render(run, compare, films, beside, made_of or _digest(root, compare))
    try:
        with replacing(target) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ConfigError(f"{target}: cannot be written: {error.strerror or error}") from None
    if not beside:
        remember(root, compare)
    return target


def write_page_of_run(root: Path) -> Failures:
    """Write RUN/report.html unless it was made of the same records; return why it could not be.

    An error costs the page alone: the run's tables and figures are there.
    """
    base = remembered(root)
    made_of = _digest(root, base)
    path = root / PAGE
    if path.is_file() and _made_of(path) == made_of:
        return ()
    try:
        write_page(root, compare=base, made_of=made_of)
    except Exception as error:
        return ((PAGE, drawing_fault(error)),)
    return ()


def render(run: RunRecords, compare: Path | None, films: Mapping[str, str], beside: str, made_of: str) -> str:
    """Return the page's text."""
    first = verdict(run)
    compared, failed = pairs(run, compare), failures(run)
    style = _style(run)
    script = source("page.js")
    data = as_json(payload(run, compared, failed, films))
    return (
        environment()
        .get_template("page.html")
        .render(
            run=run,
            verdict=first,
            curves=curves(run, first),
            flags=flags(run),
            pairs=compared,
            failures=failed,
            provenance=provenance(run, beside),
            films=films,
            figures=sorted(path.name for path in (run.root / "figures").glob("*.svg")),
            beside=beside,
            style=Markup(style),
            script=Markup(script),
            data=data,
            policy=content_policy(style, script),
            markers=[charts.marker(run.styles[label].marker) for label in run.labels],
            most=MOST_EPISODES,
            made_of=made_of,
            version=package_version("altbench"),
        )
    )


def _style(run: RunRecords) -> str:
    styles = [run.styles[label] for label in run.labels]
    colours = "".join(f".p{i}{{--c:{style.colour}}}" for i, style in enumerate(styles))
    # Privileged rows are hollow, as in the figures.
    hollow = "".join(
        f"use.p{i}{{fill:var(--card);stroke:var(--c);stroke-width:1.8}}" for i, s in enumerate(styles) if s.hollow
    )
    return source("page.css") + colours + hollow + "\n"


def _film_addresses(run: RunRecords, target: Path, beside: str, embed: bool) -> dict[str, str]:
    """Return cell -> address of its film; films are copied beside a page that is elsewhere."""
    if embed:
        return {cell: _data(path) for cell, path in run.films.items()}
    if not beside:
        return {cell: quote(path.relative_to(run.root).as_posix()) for cell, path in run.films.items()}
    folder = target.with_name(f"{target.stem}-films")
    for path in run.films.values():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / path.name)
    return {cell: quote(f"{folder.name}/{path.name}") for cell, path in run.films.items()}


def _data(path: Path) -> str:
    return f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _address(path: Path, start: Path) -> str:
    return quote(Path(os.path.relpath(path.absolute(), start)).as_posix())


def _digest(root: Path, base: Path | None) -> str:
    """Return the SHA-256 of all that the page is made of: files of the run and of the
    one that it is compared with, templates, code.
    """
    state = hashlib.sha256()
    own = Path(__file__).parent
    made_by = [*sorted(own.glob("*.py")), *sorted((own / "templates").iterdir())]
    records = ("episodes.parquet", "decisions.parquet", "sweep.json", "fingerprint.json", "outputs.json")
    made_of = [root / name for name in (*records, "training.json", "served.json")]
    made_of += [*sorted((root / "measures").glob("*.json")), *sorted((root / "audit").glob("*/calibrated.*"))]
    made_of += sorted((root / "videos").glob("*.mp4"))
    made_of += [base / name for name in records[:3]] if base else []
    for path in (*made_by, *made_of):
        if path.is_file():
            state.update(f"{path.name}\0".encode())
            state.update(bytes.fromhex(file_digest(path)))
    return state.hexdigest()


def _made_of(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        found = _MADE_OF.search(file.read(_HEAD))
    return found[1] if found else ""
