"""The tutorials and concepts in docs/: their files, commands and Python run in order, on the fake task in Lift's place."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakes
import pytest

from altbench.cli import main
from altbench.sweeps.spec import SweepSpec

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {
    str(p.relative_to(DOCS)): p for folder in ("tutorials", "concepts") for p in sorted((DOCS / folder).glob("*.md"))
}
BLOCK = re.compile(
    r"(?:<!-- (?P<mark>file|not run): (?P<said>[^>]*?) -->\n+)?"
    r"(?:```(?P<kind>python|toml)\n(?P<code>.*?)```|(?P<commands>(?:^    \S[^\n]*\n)+))",
    re.DOTALL | re.MULTILINE,
)
SKIPPED = {"it installs a package", "it takes hours"}
"""Why a block may be left out."""
LONG = {f"tutorials/{name}.md" for name in ("compare-two-runs", "read-a-run", "your-first-table")}
"""Pages that run whole sweeps."""


def blocks(page: str) -> Iterator[dict[str, Any]]:
    text = PAGES[page].read_text(encoding="utf-8").replace("Lift", "Fake").replace("lift/", "fake/")
    for match in BLOCK.finditer(text):
        yield match.groupdict()


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.register()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.parametrize("page", [pytest.param(page, marks=[pytest.mark.slow] * (page in LONG)) for page in PAGES])
def test_a_page_does_what_it_shows(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page):
        if block["mark"] == "not run":
            assert block["said"] in SKIPPED
        elif block["kind"] == "python":
            exec(compile(block["code"], page, "exec"), names)
        elif block["kind"] == "toml":
            save_or_parse(block)
        else:
            for line in block["commands"].strip().splitlines():
                run(line.strip(), monkeypatch)


def save_or_parse(block: dict[str, Any]) -> None:
    """Save a block that is named a file; hold another one to be part of a sweep."""
    if block["mark"] == "file":
        # Time and memory are measured in a process of its own, which does not know the fake task.
        Path(block["said"]).write_text("measure = false\n" + block["code"], encoding="utf-8")
        return
    part = tomllib.loads(block["code"])
    filled = {"policies": [{"policy": "open_loop", "n": [10]}], "evaluations": [{"split": "recall", "episodes": 2}]}
    SweepSpec.parse({"name": "part", "tasks": ["Fake"], "demonstrations": {"n": 10}, **filled, **part}, "page.toml")


def run(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command in this process, which knows the fake task, without workers."""
    words = shlex.split(line)
    assert words[0] == "altbench", line
    if words[1] == "run" and "--dry-run" not in words:
        words += ["--workers", "0"]
    if words[1:3] == ["run", "smoke"]:  # its demonstrations are Lift's, and its steps too many for a test
        words[words.index("smoke")] = str(small_smoke())
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
        raise SystemExit(0)
    assert ended.value.code in (0, None), line


def small_smoke() -> Path:
    """Return a sweep of two of `smoke`'s rows on the fake task."""
    path = Path("smoke.toml")
    path.write_text(
        'measure = false\nname = "smoke"\ntasks = ["Fake"]\n[demonstrations]\nn = 10\n'
        '[[policies]]\npolicy = "open_loop"\nn = [10]\n[[policies]]\npolicy = "kdtree"\nn = [10]\n'
        '[[evaluations]]\nsplit = "recall"\nepisodes = 4\n',
        encoding="utf-8",
    )
    return path


def test_every_page_shows_something_that_runs_or_is_prose_alone() -> None:
    with_blocks = {page for page in PAGES if any(True for _ in blocks(page))}
    assert with_blocks >= {page for page in PAGES if page.startswith("tutorials/")}


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    site = Path(os.environ.get("ALTBENCH_SITE", tmp_path / "site"))
    if "ALTBENCH_SITE" not in os.environ:  # where tox has just built it by the same command
        build_site(site)
    assert (site / "generated" / "tasks" / "Lift.html").is_file()


def build_site(site: Path) -> None:
    """Build the site in a folder; skip if its tools are missing."""
    pytest.importorskip("furo", reason="the site's tools are missing: pip install 'altbench[docs]'")
    options = ["-q", "-W", "--keep-going", "-b", "html"]
    command = [sys.executable, "-m", "sphinx", *options, str(DOCS), str(site)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 0, done.stderr
