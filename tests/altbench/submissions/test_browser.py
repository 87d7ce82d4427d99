"""The pages of submissions in Debian's Chromium: errors, requests, widths, looks, accessibility."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chromium
import pytest

from altbench.submissions.leaderboard import build
from altbench.submissions.pack import pack
from altbench.submissions.pages import write_verdict_page
from altbench.submissions.verdict import Finding, verdict_path, write_verdict
from altbench.submissions.verification.verify import verify

NASTY = "</script><script>window.hurt = 1</script><img src=x onerror='window.hurt = 1'>"


@pytest.fixture(scope="module")
def pages(archive: Path, run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The leaderboard of two archives, one of them verified by somebody with a nasty name, and a refuted page."""
    folder = tmp_path_factory.mktemp("pages")
    shutil.copy(archive, folder / "player.zip")
    pack(run_folder, "random", folder / "random.zip", renderer="none")
    found = verify(folder / "player.zip", 0.0, by=NASTY)
    write_verdict(folder / "player.verdict.json", found)
    bad = Finding(check="policy", state="failed", text=NASTY, details=(NASTY, "x" * 300))
    refuted = found.model_copy(update={"outcome": "refuted", "findings": (*found.findings, bad)})
    page = write_verdict_page(verdict_path(folder / "refuted.zip"), folder / "player.zip", refuted)
    site = build(folder).parent
    return {
        "index": site / "index.html",
        "entry": site / "entries" / "player.html",
        "report": site / "reports" / "player.html",
        "refuted": page,
    }


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    with chromium.started() as opened:
        yield opened


@pytest.mark.parametrize("name", ["index", "entry", "report", "refuted"])
@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_a_page_is_quiet_fits_and_hides_nothing_from_axe(
    browser: Any, pages: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(pages[name].as_uri())
    assert said == [] and asked == [pages[name].as_uri()] and page.evaluate("window.hurt") is None
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.evaluate(chromium.axe_script())
    found = page.evaluate("axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']})")
    told = [f"{one['id']}: {node['html'][:120]}" for one in found["violations"] for node in one["nodes"]]
    assert told == []
    page.close()


def test_the_button_changes_the_look(browser: Any, pages: dict[str, Path]) -> None:
    page = browser.new_page(color_scheme="light")
    page.goto(pages["index"].as_uri())
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.close()
