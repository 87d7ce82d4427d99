"""Plain English, as far as a script can tell: functions' docstrings begin with a verb."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHARE = 0.95
"""Of the public functions' docstrings; the rest may have a reason."""


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
