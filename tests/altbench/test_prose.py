"""Plain English, as far as a script can tell: functions' docstrings begin with a verb."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHARE = 0.95
"""Of the public functions' docstrings; the rest may have a reason."""
FOLDERS = ("altbench", "envs", "policies", "demos", "tests", "docs", "examples", "benchmarks")
HARD_TO_READ = re.compile(r"\bof which\b|\b(?:is|are) none\b")
"""Turns of phrase that a reader whose first language is not English stumbles over; Python's `is None` is another."""


def test_docstrings_begin_with_a_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    structure = pytest.importorskip("structure")
    documented = list(structure.docstrings(ROOT))
    without = [place for place, text in documented if not structure.begins_with_verb(text)]
    assert len(documented) > 500
    assert len(without) <= (1 - SHARE) * len(documented), "\n".join(without)


def test_a_noun_is_not_taken_for_a_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    structure = pytest.importorskip("structure")
    assert structure.begins_with_verb("Return the mean.") and structure.begins_with_verb("Writes a file.")
    for text in ("The mean.", "Whether it is so.", "A file's contents.", "Mean of all.", "->"):
        assert not structure.begins_with_verb(text), text
    assert "structure" in sys.modules


def test_no_phrase_is_hard_to_read() -> None:
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "results" / "README.md"]
    files += [path for folder in FOLDERS for kind in ("*.py", "*.md") for path in (ROOT / folder).rglob(kind)]
    lines = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        if path.is_file() and path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if HARD_TO_READ.search(line)
    ]
    assert not lines, "\n".join(lines)
