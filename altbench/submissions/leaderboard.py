"""The leaderboard as a folder of static files, made of a folder of archives."""

from __future__ import annotations

import shutil
from pathlib import Path

from altbench.core.errors import ConfigError
from altbench.submissions.board import make_board
from altbench.submissions.entries import Entry, read_entry
from altbench.submissions.pages import entry_page, index_page
from altbench.submissions.reports import FOLDER, report_page
from altbench.system.files import new_folder

INDEX = "index.html"
"""The first page; its presence marks a folder that may be replaced."""


def build(folder: Path, site: Path | None = None) -> Path:
    """Write the leaderboard of all archives in `folder` into `site`; return its first page.

    Beside mine.zip, mine.verdict.json is its verdict; one of other bytes is passed over.
    What is verified has a report of all its episodes. `site`: None is FOLDER/site. The
    same files give the same bytes. ConfigError if `folder` holds no archive, or if `site`
    holds other files; SubmissionError for an archive that is damaged.
    """
    target = site or folder / "site"
    archives = sorted(path for path in folder.glob("*.zip") if path.is_file())
    if not archives:
        raise ConfigError(f"{folder}: expected archives (*.zip) in it, got none; `altbench submit pack` makes one")
    if target.exists() and not (target.is_dir() and ((target / INDEX).is_file() or not any(target.iterdir()))):
        raise ConfigError(f"{target}: holds something else than a leaderboard; choose another --out")
    entries = [read_entry(path) for path in archives]
    with new_folder(target) as temporary:
        _write(temporary, entries, archives)
    return target / INDEX


def _write(folder: Path, entries: list[Entry], archives: list[Path]) -> None:
    (folder / "entries").mkdir()
    (folder / "archives").mkdir()
    (folder / FOLDER).mkdir()
    _text(folder / INDEX, index_page(make_board(entries)))
    for entry, archive in zip(entries, archives, strict=True):
        _text(folder / "entries" / f"{entry.slug}.html", entry_page(entry, entry.verdict, entry.file, back=True))
        if entry.is_verified:
            _text(folder / FOLDER / f"{entry.slug}.html", report_page(archive, entry))
        shutil.copyfile(archive, folder / "archives" / archive.name)


def _text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
