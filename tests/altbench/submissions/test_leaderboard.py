"""The leaderboard: ranks as intervals, versions apart, the same bytes twice, nobody's text as markup."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from running import run_bare
from submitted import CARD, make_sweep

from altbench.core.errors import ConfigError
from altbench.submissions.board import make_board
from altbench.submissions.entries import read_entry
from altbench.submissions.leaderboard import build
from altbench.submissions.manifest import SubmissionError
from altbench.submissions.pack import pack
from altbench.submissions.pages import entry_page, write_verdict_page
from altbench.submissions.ranks import rank_intervals
from altbench.submissions.verdict import Finding, Verdict, verdict_path, write_verdict
from altbench.submissions.verification.verify import verify


@pytest.fixture(scope="module")
def folder(archive: Path, run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two verified archives and one that nobody verified."""
    made = tmp_path_factory.mktemp("leaderboard")
    shutil.copy(archive, made / "player.zip")
    pack(run_folder, "random", made / "random.zip", renderer="none")
    shutil.copy(made / "random.zip", made / "copied.zip")
    for name in ("player", "random"):
        found = verify(made / f"{name}.zip", 0.0, by="the <i>maintainers</i>")
        assert found.outcome == "verified"
        write_verdict(made / f"{name}.verdict.json", found.model_copy(update={"date": "2026-01-02"}))
    return made


class Tags(HTMLParser):
    """Collects the elements of a page and the addresses of its links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        self.ids += [value or "" for name, value in attrs if name == "id"]


def test_built_twice_the_site_is_the_same_to_the_bit(folder: Path, tmp_path: Path) -> None:
    sites = [build(folder, tmp_path / name).parent for name in ("a", "b")]
    files = [{p.relative_to(s).as_posix(): p.read_bytes() for p in s.rglob("*") if p.is_file()} for s in sites]
    assert files[0] == files[1] and "entries/player.html" in files[0] and "archives/random.zip" in files[0]
    assert {"reports/player.html", "reports/random.html"} <= files[0].keys()
    assert build(folder, sites[0]).is_file()  # a leaderboard may be replaced


def test_every_link_leads_somewhere_and_nothing_is_markup(folder: Path, tmp_path: Path) -> None:
    site = build(folder, tmp_path / "site").parent
    for page in site.rglob("*.html"):
        text = page.read_text()
        found = Tags(text)
        assert ("<b>player</b>" not in text and "&lt;b&gt;player" in text) or page.stem in ("random", "copied")
        assert "i" not in found.tags and len(set(found.ids)) == len(found.ids)
        for link in found.links:
            if link.startswith("#"):
                # In a report these open a cell, by its script.
                assert link[1:] in found.ids or (page.parent.name == "reports" and link[1] in "cm"), link
            elif not link.startswith("https://example.org"):
                assert (page.parent / link).is_file(), link
        assert (site / "entries" / page.name).is_file() or page.name == "index.html"


def test_a_report_is_made_here_of_what_was_verified(folder: Path, tmp_path: Path) -> None:
    """Each verified entry links one, with the numbers of its own table; no other entry has one."""
    site = build(folder, tmp_path / "site").parent
    assert sorted(path.stem for path in (site / "reports").iterdir()) == ["player", "random"]
    for name, there in (("player", True), ("copied", False)):
        links = Tags((site / "entries" / f"{name}.html").read_text()).links
        assert (f"../reports/{name}.html" in links) is there
    links = Tags((site / "index.html").read_text()).links
    assert [link for link in links if "reports" in link] == ["reports/player.html", "reports/random.html"]
    text = (site / "reports" / "player.html").read_text()
    found = Tags(text)
    assert {"../entries/player.html", "../archives/player.zip"} <= set(found.links)
    assert found.tags.count("script") == 2, "its data and our own script"
    entry = read_entry(folder / "player.zip")
    for one in entry.numbers:
        assert f"{one.rate.successes}/{one.rate.episodes} = " in text and one.rate.low is not None
        assert f"[{100 * one.rate.low:.0f}, {100 * (one.rate.high or 0):.0f}]" in text, "the same intervals"
    assert "altbench submit verify player.zip" in text and "altbench video fake" not in text and '"film":false' in text
    assert "altbench-submission-" not in text, "no temporary folder"


def test_ranks_are_intervals_over_what_is_verified(folder: Path) -> None:
    board = make_board([read_entry(path) for path in sorted(folder.glob("*.zip"))])
    (section,) = board.sections
    assert section.version.startswith("version 1, suite 1, protocol 1, mujoco ")
    recall, uniform = section.tables
    assert (recall.title, uniform.title) == ("recall, N = 6, data seed 0", "uniform")
    ranks = [(line.entry.slug, line.shown_rank, line.why) for line in recall.lines]
    assert ranks == [("player", "1", ""), ("random", "2", ""), ("copied", "", "not verified")]
    assert [line.shown_rank for line in uniform.lines][:2] == ["1–2", "1–2"]


def test_archives_in_another_order_give_the_same_board(folder: Path) -> None:
    entries = [read_entry(path) for path in sorted(folder.glob("*.zip"))]
    boards = [make_board(order) for order in (entries, entries[::-1])]
    assert [[t.title for t in s.tables] for s in boards[0].sections] == [
        [t.title for t in s.tables] for s in boards[1].sections
    ]
    rows = [[(line.entry.file, line.rank) for s in b.sections for t in s.tables for line in t.lines] for b in boards]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("what", ["tasks", "suite", "protocol", "physics"])
def test_versions_are_never_pooled(folder: Path, what: str) -> None:
    entries = [read_entry(folder / f"{name}.zip") for name in ("player", "random")]
    other = {"tasks": {"Fake": 2}, "physics": {**entries[1].manifest.physics, "mujoco": "4.0"}}.get(what, 2)
    newer = replace(entries[1], manifest=entries[1].manifest.model_copy(update={what: other}))
    board = make_board([entries[0], newer])
    assert len(board.sections) == 2
    assert all(len(table.lines) == 1 for section in board.sections for table in section.tables)


def test_a_verdict_of_other_bytes_counts_for_nothing(folder: Path, tmp_path: Path) -> None:
    for name in ("player.zip", "random.verdict.json"):
        shutil.copy(folder / name, tmp_path / name.replace("random", "player"))
    entry = read_entry(tmp_path / "player.zip")
    assert entry.verdict is None and entry.standing == "not verified"


def test_what_is_refuted_is_shown_and_not_ranked(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "player.zip", tmp_path / "player.zip")
    entry = read_entry(folder / "player.zip")
    bad = Verdict(
        archive="player.zip",
        digest=entry.digest,
        outcome="refuted",
        findings=(Finding(check="policy", state="failed", text="<script>x</script>", details=("<img src=x>",)),),
    )
    write_verdict(tmp_path / "player.verdict.json", bad)
    site = build(tmp_path).parent
    text = (site / "index.html").read_text()
    assert "refuted" in text and "not ranked: refuted" in text and "<script>x" not in text
    page = (site / "entries" / "player.html").read_text()
    assert Tags(page).tags.count("script") == 1 and "Refuted: policy failed." in page


def test_an_empty_folder_and_a_full_target_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected archives"):
        build(tmp_path)
    (tmp_path / "mine.txt").write_text("dear")
    with pytest.raises(ConfigError, match="something else"):
        build(folder, tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "dear"


def test_a_damaged_archive_or_verdict_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes((folder / "player.zip").read_bytes()[:-9])
    with pytest.raises(SubmissionError, match=r"bad\.zip"):
        build(tmp_path)
    shutil.copy(folder / "player.zip", tmp_path / "bad.zip")
    (tmp_path / "bad.verdict.json").write_text("{}")
    with pytest.raises(SubmissionError, match=r"bad\.verdict\.json: not a verdict"):
        build(tmp_path)


def test_the_page_of_an_unreadable_archive_has_the_findings_alone(tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    found = verify(tmp_path / "bad.zip")
    page = write_verdict_page(verdict_path(tmp_path / "bad.zip"), tmp_path / "bad.zip", found).read_text()
    assert "damaged, or no archive" in page and 'id="numbers"' not in page


def test_an_entry_shows_its_card_and_its_numbers(archive: Path) -> None:
    entry = read_entry(archive)
    page = entry_page(entry, None, "x", back=True)
    assert CARD.authors[0] in page and "MIT" in page and "54/54" in page
    assert re.search(r"Content-Security-Policy\" content=\"default-src &#39;none&#39;", page)


def test_several_training_seeds_are_one_line(tmp_path: Path) -> None:
    """Episodes of two seeds are paired seed by seed, and the line says how many there are."""
    one = make_sweep(train_seeds=[0, 1], policies=[{"policy": "open_loop", "n": [6]}])
    assert run_bare(one, tmp_path / "run").failed == ()
    entry = read_entry(pack(tmp_path / "run", "open_loop", tmp_path / "two.zip", renderer="none"))
    lines = [line for section in make_board([entry]).sections for table in section.tables for line in table.lines]
    assert [line.seeds for line in lines] == [2, 2] and lines[0].rate.episodes == 108


def frame(wins: int, of: int = 60, seed: int = 0) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "task": "Fake",
            "split": "uniform",
            "n": 6,
            "train_seed": seed,
            "seed": range(of),
            "episode": range(of),
            "status": "ok",
            "success": [i < wins for i in range(of)],
        }
    )


def test_rank_intervals_say_what_the_episodes_leave_open() -> None:
    assert rank_intervals([]) == [] and rank_intervals([frame(3)]) == [(1, 1)]
    assert rank_intervals([frame(60), frame(0), frame(30)]) == [(1, 1), (3, 3), (2, 2)]
    assert rank_intervals([frame(60), frame(59), frame(30)]) == [(1, 2), (1, 2), (3, 3)]
    assert rank_intervals([frame(40, 40), frame(0, 40)]) == [(1, 2), (1, 2)]  # fewer than 50
    assert rank_intervals([frame(60), frame(0, seed=1)]) == [(1, 2), (1, 2)]  # no common training seed
